"""The web door; its place is kept, nothing stands in it yet."""
