"""Every patch and private API of other packages, each with its reason and the versions it was seen with."""
