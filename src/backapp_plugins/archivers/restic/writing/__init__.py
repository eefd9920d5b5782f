"""Writes blobs, gathered in packs."""
