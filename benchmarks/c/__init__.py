"""How fast and how exact C programs are."""
