"""From tar blocks to a stored archive: compressed on several threads, sent while it grows."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import final

from backapp_core.plugin_api import Transport
from backapp_plugins.archivers.targz.channel import Channel
from backapp_plugins.archivers.targz.gzip_members import MEMBER_BYTES
from backapp_plugins.archivers.targz.tar_headers import end_of_archive

_MEMBERS_AHEAD = 4
"""Members that wait to be sent; with those being compressed this bounds memory at some 40 MB."""


@final
class ArchiveWriter:
    """Content of one archive: one thread writes, another sends what `chunks` yields.

    Nothing is stored unless something was written.
    """

    def __init__(self, pool: ThreadPoolExecutor, compress: Callable[[bytearray], bytes]) -> None:
        self._pool = pool
        self._compress = compress
        self._channel: Channel[Future[bytes]] = Channel(_MEMBERS_AHEAD)
        self._buffer = bytearray()
        self._flushed = 0
        self._held = bytearray()
        self.member_sizes: list[int] = []
        """Compressed size of each member that was sent."""

    @property
    def position(self) -> int:
        """Where in the uncompressed tar stream the next byte goes."""
        return self._flushed + len(self._buffer) + len(self._held)

    def write(self, data: bytes | memoryview) -> None:
        """Append to the tar stream; waits while the destination is slower.

        Raises:
            ChannelClosed: If sending has failed meanwhile.
        """
        buffer = self._buffer
        if self._held:
            buffer += self._held
            self._held.clear()
        buffer += data
        if len(buffer) >= MEMBER_BYTES:
            self._cut()

    def hold_back(self, data: bytes) -> None:
        """Append something small that is worth no archive by itself; `drop` may follow."""
        self._held += data

    def drop(self) -> None:
        """Forget what was held back and nothing was written after."""
        self._held.clear()

    def finish(self, error: BaseException | None = None) -> None:
        """End the archive, or give it up with ``error``, which the sending side then gets."""
        if error is None and self.position:
            self.write(end_of_archive(self.position))
            if self._buffer:
                self._submit(self._buffer)
                self._buffer = bytearray()
        self._channel.end(error)

    def require_receiver(self) -> None:
        """Return if what is written is still wanted.

        Raises:
            ChannelClosed: If sending has failed meanwhile.
        """
        self._channel.require_receiver()

    def abandon(self) -> None:
        """Wake the writing thread if it waits: nothing more will be sent."""
        self._channel.abandon()

    def chunks(self) -> Iterator[bytes]:
        """Yield compressed members in order."""
        for future in self._channel:
            member = future.result()
            self.member_sizes.append(len(member))
            yield member

    def _cut(self) -> None:
        buffer = self._buffer
        while len(buffer) >= MEMBER_BYTES:
            member = buffer[:MEMBER_BYTES]
            del buffer[:MEMBER_BYTES]
            self._submit(member)

    def _submit(self, content: bytearray) -> None:
        self._flushed += len(content)
        self._channel.send(self._pool.submit(self._compress, content))


@final
class SentObject:
    """What became of an object that was sent: size and hash of the bytes as stored."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self.sha256 = ""

    def send(self, transport: Transport, name: str, sealed: Iterator[bytes]) -> None:
        """Store chunks, sealed if they are to be, as a new object."""
        hasher = sha256()

        def measured() -> Iterator[bytes]:
            for chunk in sealed:
                hasher.update(chunk)
                yield chunk

        self.size_bytes = transport.put(name, measured())
        self.sha256 = hasher.hexdigest()
