"""How hard what is stored is compressed."""

from enum import StrEnum


class Compression(StrEnum):
    """How much time is spent to store less, in restic's words.

    What it comes to is the archiver's business; whatever was chosen, every program that reads the
    format reads what was stored.
    """

    OFF = "off"
    """Contents of files are stored as they are; what an archiver writes about them may be not."""
    FASTEST = "fastest"
    AUTO = "auto"
    """What the archiver takes to be right for most."""
    BETTER = "better"
    MAX = "max"
