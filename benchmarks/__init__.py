"""Scripts that measure rnnexport against its peers. They print; no test asserts a time."""
