"""The web door: a dashboard for people, an interface for programs and machines."""
