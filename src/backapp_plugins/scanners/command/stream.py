"""The content of the one file, read as it comes."""

import os
import select
from collections.abc import Sequence
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import CancelToken, CommandFailed, Entry, Extent, OpenedFile
from backapp_plugins.scanners.command.sources import Running

_LOOK_UP_SECONDS = 0.2
"""How long a source may be silent before somebody looks whether the run is to stop."""
_READ_BYTES = 1 << 20


@final
class Stream(OpenedFile):
    """Reads a source to its end, which must be a good one."""

    is_stream = True

    def __init__(self, entry: Entry, running: Running, cancel: CancelToken) -> None:
        self.entry = entry
        self._running: Running | None = running
        self._cancel = cancel
        self._position = 0
        self._is_at_end = False

    @override
    def extents(self) -> Sequence[Extent] | None:
        return None

    @override
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        if offset != self._position or self._running is None:
            raise ValueError("a stream is read while it is open, from its beginning, without gaps")
        pieces: list[bytes] = []
        left = length_bytes
        while left and (piece := self._piece(self._running, min(left, _READ_BYTES))):
            pieces.append(piece)
            left -= len(piece)
        self._position += length_bytes - left
        return b"".join(pieces)

    @override
    def has_changed(self) -> bool:
        return False

    @override
    def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def _piece(self, running: Running, most_bytes: int) -> bytes:
        """Return what comes next; nothing at the end.

        Raises:
            CommandFailed: If there is no way on, or the end is not a good one.
        """
        self._cancel.check()
        if self._is_at_end:
            return b""
        waiting = select.poll()
        waiting.register(running.descriptor, select.POLLIN)
        try:
            while not waiting.poll(_LOOK_UP_SECONDS * 1000):
                self._cancel.check()
            piece = os.read(running.descriptor, most_bytes)
        except OSError as error:
            raise CommandFailed(f"the stream cannot be read: {error.strerror}") from error
        if not piece:
            self._await_end(running)
            self._is_at_end = True
        return piece

    def _await_end(self, running: Running) -> None:
        try:
            while not running.has_ended(_LOOK_UP_SECONDS):
                self._cancel.check()
        except CommandFailed:
            self._cancel.check()  # Ctrl-C reaches the command as well, and is why it failed
            raise
