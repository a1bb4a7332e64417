"""Models that must work, a file each, runnable and usable as `--custom-objects`; and the demo over all of them."""
