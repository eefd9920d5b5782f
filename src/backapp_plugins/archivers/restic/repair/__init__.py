"""Makes the best of a damaged repository."""
