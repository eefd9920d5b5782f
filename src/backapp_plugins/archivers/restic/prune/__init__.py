"""Removes snapshots and what nothing needs any more."""
