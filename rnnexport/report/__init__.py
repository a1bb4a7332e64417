"""Views of a `Report` and of an `Inspection`: terminal, JSON, JUnit XML and one page of HTML."""
