"""Built-in archivers."""
