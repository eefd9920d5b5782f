"""Further processes that work for this one, since one interpreter runs on one core at a time."""
