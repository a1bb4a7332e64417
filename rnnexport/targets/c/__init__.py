"""C programs: written, sealed, compiled and called."""
