"""What can be chosen when a tar.gz repository is created."""

from attrs import field, frozen, validators


@frozen
class TargzSettings:
    """Choices that hold for a repository's whole life."""

    recipients: tuple[str, ...] = ()
    """age recipients (``age1…`` or SSH public keys); without any, nothing is encrypted."""
    compression_level: int = field(default=2, validator=[validators.ge(0), validators.le(3)])
    """0 is fastest, 3 smallest."""
    increments: int = field(default=30, validator=[validators.ge(0), validators.le(10_000)])
    """How many increments may follow a full backup before the next full one.

    0 makes every backup a full one.
    """
