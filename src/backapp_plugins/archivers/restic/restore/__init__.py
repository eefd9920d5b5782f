"""Restores: every needed pack is read once, many files are written at a time."""
