"""targz."""
