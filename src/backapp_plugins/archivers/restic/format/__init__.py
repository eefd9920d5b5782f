"""What stands in a repository, byte by byte, without reading or writing any of it."""
