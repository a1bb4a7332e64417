"""Values that every layer shares: signatures, options, placements, errors."""
