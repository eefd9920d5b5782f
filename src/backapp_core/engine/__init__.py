"""Verbs: each module is one thing that the engine does."""
