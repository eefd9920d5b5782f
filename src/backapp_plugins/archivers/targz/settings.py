"""What can be chosen when a tar.gz repository is created."""

from attrs import field, frozen, validators


def _are_recipients(settings: object, attribute: object, recipients: tuple[str, ...]) -> None:
    """Refuse what is no recipient before anything is created."""
    del settings, attribute
    if recipients:
        from backapp_plugins.archivers.targz.envelope import parse_recipient

        for recipient in recipients:
            parse_recipient(recipient)


@frozen
class TargzSettings:
    """Choices that hold for a repository's whole life."""

    recipients: tuple[str, ...] = field(default=(), validator=_are_recipients)
    """age recipients (``age1…`` or SSH public keys); without any, nothing is encrypted."""
    compression_level: int = field(default=2, validator=[validators.ge(0), validators.le(3)])
    """0 is fastest, 3 smallest."""
    increments: int = field(default=30, validator=[validators.ge(0), validators.le(10_000)])
    """How many increments may follow a full backup; 0 makes every backup a full one."""
