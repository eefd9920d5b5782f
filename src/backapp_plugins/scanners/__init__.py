"""Built-in scanners."""
