"""BackApp: a backup engine to import."""
