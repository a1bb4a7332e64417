"""What users call: export, verify, inspect, reseal. The command line is a thin layer above."""
