"""The snapshot that a backup is compared with, and its manifest in scan order."""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO, Any, final

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import DamagedRepository, from_text, path_key
from backapp_plugins.archivers.targz.layout import ArchiveRef, Config, Record
from backapp_plugins.archivers.targz.manifest import Block, DirLine, EntryLine, MoreLine, Reader

_BUFFER_BYTES = 1 << 20


@frozen
class Parent:
    """The snapshot that the next one builds on, with its manifest opened."""

    id: str
    record: Record
    stream: IO[bytes]
    """The uncompressed manifest."""


def reason_for_full(record: Record, config: Config) -> str:
    """Say why a chain must not grow any further; empty if it may."""
    if record.increments >= config.increments:
        return f"{record.increments} increments follow the last full backup"
    if record.increment_bytes > record.full_bytes:
        return "the increments have grown larger than the full backup they follow"
    return ""


def next_number(archives: tuple[ArchiveRef, ...]) -> int:
    """Return a number that none of ``archives`` has."""
    return max((archive.number for archive in archives), default=-1) + 1


@final
class ParentWalk:
    """Finds a directory's old blocks while a scan goes by in the same order; holds one block."""

    def __init__(self, reader: Reader | None) -> None:
        self._blocks: Iterator[Block] = reader.blocks() if reader else iter(())
        self._next: Block | None = next(self._blocks, None)
        self._has_missed = False

    def has_missed(self) -> bool:
        """Say whether a directory of the old state was not entered; asked when the scan is over."""
        while self._next is not None and isinstance(self._next.head, MoreLine):
            self._next = next(self._blocks, None)
        return self._has_missed or self._next is not None

    def enter(self, path: bytes) -> "OldDirectory | None":
        """Return the old state of the directory ``path``, None if it was not there.

        Calls come in scan order.
        """
        key: list[bytes] | None = None
        while self._next is not None:
            head = self._next.head
            if isinstance(head, DirLine):
                if self._next.path == path:
                    first = self._next
                    self._next = next(self._blocks, None)
                    return OldDirectory(head, first, self._rest())
                key = key or path_key(path)
                if path_key(self._next.path) > key:
                    return None
                self._has_missed = True
            self._next = next(self._blocks, None)
        return None

    def _rest(self) -> Iterator[Block]:
        while self._next is not None and isinstance(self._next.head, MoreLine):
            block = self._next
            self._next = next(self._blocks, None)
            yield block


@final
class OldDirectory:
    """One directory as the parent's manifest has it."""

    def __init__(self, head: DirLine, first: Block, rest: Iterator[Block]) -> None:
        self.head = head
        self.first = first
        self._rest = rest
        self._lines = self._walk()
        self._next: tuple[bytes, EntryLine] | None = None
        self._is_begun = False
        self._found = b""
        self._has_missed = False

    def find(self, name: bytes) -> EntryLine | None:
        """Return the old entry of this name, None if there was none.

        Calls come in byte order of names.
        """
        self._begin()
        while self._next is not None and self._next[0] < name:
            self._go_on(self._next[0])
        if self._next is None or self._next[0] != name:
            return None
        self._found = name
        return self._next[1]

    def has_missed(self) -> bool:
        """Say whether an old entry was not found by anybody; asked after the last call."""
        self._begin()
        while self._next is not None and not self._has_missed:
            self._go_on(self._next[0])
        return self._has_missed

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._next = next(self._lines, None)

    def _go_on(self, name: bytes) -> None:
        self._has_missed = self._has_missed or name != self._found
        self._next = next(self._lines, None)

    def _walk(self) -> Iterator[tuple[bytes, EntryLine]]:
        for line in self.first.lines():
            yield from_text(line.name), line
        for block in self._rest:
            for line in block.lines():
                yield from_text(line.name), line


def open_compressed(file: IO[bytes], codec: Any) -> IO[bytes]:
    """Return the uncompressed content of a gzip file; closing it closes ``file``."""
    if codec.__name__.startswith("isal"):
        from isal import igzip

        reader: Any = igzip.IGzipFile
        return io.BufferedReader(_Unpacked(reader(fileobj=file, mode="rb"), file), _BUFFER_BYTES)
    return io.BufferedReader(_Unpacked(gzip.open(file, "rb"), file), _BUFFER_BYTES)


@final
class _Unpacked(io.RawIOBase):
    """A gzip reader that closes its file with itself and says what is wrong in our words."""

    def __init__(self, unpacker: Any, file: IO[bytes]) -> None:
        self._unpacker = unpacker
        self._file = file

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._unpacker.readinto(buffer))
        except (EOFError, OSError, zlib.error) as error:
            raise DamagedRepository(f"a manifest is damaged: {error}") from error

    @override
    def close(self) -> None:
        if not self.closed:
            self._unpacker.close()
            self._file.close()
        super().close()
