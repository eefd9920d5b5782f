"""Which blob is where."""
