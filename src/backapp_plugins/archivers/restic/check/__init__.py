"""Looks whether everything is there and whole."""
