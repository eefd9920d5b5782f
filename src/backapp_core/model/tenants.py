"""Whose things they are: a tenant owns machines, jobs, repositories and everything that follows."""

from attrs import frozen


@frozen
class Tenant:
    """One owner; nothing of it is reachable for another."""

    id: int
    name: str
    """Unique in the installation."""
