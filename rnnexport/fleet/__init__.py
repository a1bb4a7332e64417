"""Units of work that share nothing, here or on many machines: exports of whole fleets, shards of verifications."""
