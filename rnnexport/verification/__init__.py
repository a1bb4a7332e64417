"""Whether an artifact computes what its source computes. Arrays in, verdicts out: no runtime is imported here."""
