"""How fast bytes may go over the line: two limits that all transports of an engine share."""

import threading
from typing import final

from attrs import field, frozen

_PIECES_PER_SECOND = 8
_LARGEST_PIECE_BYTES = 4 << 20
_SIPS_PER_PIECE = 16
_SMALL_SIP_BYTES = 16 << 10
_FAR_BACK_SECONDS = float("-inf")


@final
class Pace:
    """How fast bytes may go in one direction; may be used from any thread.

    It is a bucket that fills with the limit and holds what may go in an eighth of a second. Whoever
    takes more than is in it waits for the rest. Those who wait get their turns in order, so that
    long objects do not keep short ones waiting as long as they are moved in pieces.
    """

    def __init__(self, bytes_per_second: int | None = None) -> None:
        """Set the limit, at least 1; None for none."""
        self.bytes_per_second = bytes_per_second
        self._lock = threading.Lock()
        self._paid_until_seconds = _FAR_BACK_SECONDS

    @property
    def piece_bytes(self) -> int:
        """How much is moved at once at most, from 1 byte to 4 MiB: what may go in 1/8 second."""
        if self.bytes_per_second is None:
            return _LARGEST_PIECE_BYTES
        return min(_LARGEST_PIECE_BYTES, max(1, self.bytes_per_second // _PIECES_PER_SECOND))

    @property
    def sip_bytes(self) -> int:
        """How much is taken at once of what comes in a stream, without being asked for by piece.

        The system lets the other side send ahead some times of what was taken last, many MiB if it
        may. So that is little under a limit: a sixteenth of a piece, but for 16 KiB.
        """
        if self.bytes_per_second is None:
            return self.piece_bytes
        small = max(_SMALL_SIP_BYTES, self.piece_bytes // _SIPS_PER_PIECE)
        return min(self.piece_bytes, small)

    def take(self, count_bytes: int, now_seconds: float) -> float:
        """Count bytes that go over the line, and return for how many seconds to wait.

        Whoever waits before it sends, or before it receives more, keeps the limit.

        Args:
            count_bytes: How many go.
            now_seconds: The present moment, by a clock that never goes back.
        """
        if self.bytes_per_second is None:
            return 0.0
        with self._lock:
            begun_at = max(self._paid_until_seconds, now_seconds - 1 / _PIECES_PER_SECOND)
            self._paid_until_seconds = begun_at + count_bytes / self.bytes_per_second
            return max(0.0, self._paid_until_seconds - now_seconds)


@frozen(eq=False)
class Line:
    """The limits of what is sent and of what is received."""

    upload: Pace = field(factory=Pace)
    download: Pace = field(factory=Pace)

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit at all."""
        return any(one.bytes_per_second is not None for one in (self.upload, self.download))
