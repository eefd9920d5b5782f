"""What a plugin finds around it: time, chance, folders, listeners; handed to every ``open``."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import final

from attrs import field, frozen

from backapp_core.clock import Clock, SystemClock
from backapp_core.errors import RunCancelled
from backapp_core.events import EventSink, void
from backapp_core.model.compressions import Compression
from backapp_core.ports.grants import CanIssueGrants
from backapp_core.ports.line import Line, Pace

_LOOK_SECONDS = 0.25


@final
class CancelToken:
    """A wish to stop, set by one thread and asked about by others.

    It cannot be taken back: a token is for one engine's life, and whoever wants to go on makes
    another engine with a new one.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Wish that the work stops soon; safe in a signal handler and more than once."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wished so."""
        return self._event.is_set()

    def check(self) -> None:
        """Return if nobody wished to stop.

        Raises:
            RunCancelled: If somebody did.
        """
        if self._event.is_set():
            raise RunCancelled("stopped on request")


@frozen
class Surroundings:
    """Everything that plugins do not reach for by themselves.

    Settings carry only what a user writes.
    """

    cache_folder: Path
    """May be deleted at any moment; never an authority over anything."""
    state_folder: Path
    """Kept; small files such as the snapshots last seen."""
    clock: Clock = field(factory=SystemClock)
    random_bytes: Callable[[int], bytes] = os.urandom
    """Returns that many bytes fit for names and keys."""
    events: EventSink = void
    cancel: CancelToken = field(factory=CancelToken)
    threads: int = 2
    """How many threads native code (compression, hashing) may keep busy."""
    compression: Compression = Compression.AUTO
    """How hard what is written is compressed; what was stored before stays as it is."""
    lock_wait_seconds: float = 0.0
    """How long whoever finds a repository locked waits for it to become free; see `once_free`."""
    line: Line = field(factory=Line)
    """How fast bytes may go to and from other machines; shared by copies of this object.

    The core keeps these limits around every transport that has no folder of this machine. A
    transport does well to ask for no more at once than `Pace.piece_bytes`, and to take no more of
    a stream than `Pace.sip_bytes`.
    """
    grants: CanIssueGrants | None = None
    """Who signs for the buckets of managed repositories; None where nobody does."""
    transports: Mapping[str, Mapping[str, object]] = field(
        factory=dict[str, Mapping[str, object]], repr=False
    )
    """What the settings file says of kinds of transports, as plain data, by their names; read where
    an address is opened, see `TransportKind.options`."""

    def wait_to_send(self, count_bytes: int) -> None:
        """Wait until that many bytes may be sent; at once where nothing is limited.

        Only transports whose kind says `paces_uploads` call this.

        Raises:
            RunCancelled: If somebody wishes to stop meanwhile.
        """
        self._wait_for(self.line.upload, count_bytes)

    def wait_to_receive(self, count_bytes: int) -> None:
        """Wait until more may be received after that many bytes were.

        Raises:
            RunCancelled: If somebody wishes to stop meanwhile.
        """
        self._wait_for(self.line.download, count_bytes)

    def _wait_for(self, pace: Pace, count_bytes: int) -> None:
        if pace.bytes_per_second is not None:
            self.wait(pace.take(count_bytes, self.clock.monotonic_seconds()))

    def wait(self, seconds: float) -> None:
        """Wait by the clock, and look four times a second whether somebody wishes to stop.

        Raises:
            RunCancelled: If somebody does.
        """
        left = seconds
        while left > 0:
            self.cancel.check()
            self.clock.wait(min(left, _LOOK_SECONDS))
            left -= _LOOK_SECONDS


@frozen
class Keys:
    """What may open or seal a repository.

    Nothing here is ever logged, stored or put into an event.
    """

    password: Callable[[], str] | None = field(default=None, repr=False)
    """Asked at most once per opened repository, and only if a password is needed."""
    identity_files: Sequence[Path] = ()
    """Files with age identities; one with a passphrase is opened with `password`."""


NO_KEYS = Keys()
