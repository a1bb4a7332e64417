"""What rides in an artifact and how it gets in place: provenance, goldens, layer map, checksum, atomic write."""
