"""What a look at the machine, its sources and its repository found."""

from enum import StrEnum

from attrs import frozen


class Verdict(StrEnum):
    """What came of one look."""

    FINE = "fine"
    NOTE = "note"
    """Works, but not everything will be kept or used."""
    PROBLEM = "problem"


@frozen
class Diagnosis:
    """One thing that was looked at."""

    subject: str
    """What it is about, in a word or two, or a path."""
    verdict: Verdict
    message: str
    """One sentence without a full stop."""

    @property
    def is_fine(self) -> bool:
        """Whether nothing has to be done for backups and restores to work."""
        return self.verdict is not Verdict.PROBLEM
