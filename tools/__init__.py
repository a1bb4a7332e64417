"""What the project does to itself; nothing here is installed."""
