"""Views of a `Report` and of an `Inspection`: terminal and JSON."""
