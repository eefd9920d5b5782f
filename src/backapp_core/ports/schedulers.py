"""Schedulers say when something is due."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime

from attrs import frozen


class Scheduler(ABC):
    """The due moments of one expression in one time zone; pure, may be called from any thread."""

    @abstractmethod
    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first due moment later than ``moment`` (aware), in UTC.

        None if there never is one.

        Raises:
            InputError: If ``moment`` is naive.
        """

    @abstractmethod
    def previous_before(self, moment: datetime) -> datetime | None:
        """Return the last due moment earlier than ``moment`` (aware), in UTC.

        None if there never was one.

        Raises:
            InputError: If ``moment`` is naive.
        """

    @property
    @abstractmethod
    def description(self) -> str:
        """The expression in words, in English."""


@frozen
class SchedulerKind:
    """A sort of schedule that a plugin offers."""

    name: str
    parse: Callable[[str, str], Scheduler]
    """Makes a scheduler from an expression and an IANA time zone name.

    Raises:
        InvalidSchedule: If either cannot be understood; the message says what.
    """
