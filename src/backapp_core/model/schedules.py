"""When a job is due."""

from attrs import frozen


@frozen
class Schedule:
    """An expression that a scheduler kind understands, read in a time zone."""

    expression: str
    """For ``cron``: five fields, as in ``30 2 * * 1-5``."""
    time_zone: str = "UTC"
    """An IANA name such as ``Europe/Vienna``."""
    scheduler: str = "cron"
    """Name of the scheduler kind."""
