"""Keys and locks: who may open a repository, and who is at work in it."""
