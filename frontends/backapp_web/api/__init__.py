"""The interface for programs and machines: JSON, described by an OpenAPI document."""
