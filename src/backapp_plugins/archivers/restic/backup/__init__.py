"""Backs up: what is new is read and saved, the snapshot comes last."""
