"""A scanner that lets a test interfere at every step that an archiver takes."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from typing_extensions import override

from backapp_core.model.entries import Entry, Extent
from backapp_core.ports.scanners import FoundDirectory, OpenedFile, Scanner

Hook: TypeAlias = Callable[[str, bytes, int], None]
"""Told of what happens next (``open``, ``read``, ``attributes``, ``target``), to which path, at
which offset."""


class HookedScanner(Scanner):
    """Another scanner, with a hook before whatever is asked of what it found.

    Small files are read like large ones, so that the hook comes between opening and reading.
    """

    def __init__(self, inner: Scanner, hook: Hook) -> None:
        self.inner = inner
        self.hook = hook
        self.roots = inner.roots
        self.has_streams = inner.has_streams

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        return (HookedDirectory(found, self.hook) for found in self.inner.scan())

    @override
    def user_name(self, uid: int) -> str:
        return self.inner.user_name(uid)

    @override
    def group_name(self, gid: int) -> str:
        return self.inner.group_name(gid)

    @property
    @override
    def problems(self) -> int:
        return self.inner.problems


class HookedDirectory(FoundDirectory):
    """One directory of a `HookedScanner`."""

    def __init__(self, inner: FoundDirectory, hook: Hook) -> None:
        self._inner = inner
        self._hook = hook
        self.path, self.entry, self.entries = inner.path, inner.entry, inner.entries

    @override
    def open(self, entry: Entry) -> OpenedFile:
        path = self._path_of(entry)
        self._hook("open", path, 0)
        return _HookedFile(self._inner.open(entry), path, self._hook)

    @override
    def attributes(self, entry: Entry | None) -> tuple[tuple[bytes, bytes], ...]:
        self._hook("attributes", self.path if entry is None else self._path_of(entry), 0)
        return self._inner.attributes(entry)

    @override
    def link_target(self, entry: Entry) -> bytes:
        self._hook("target", self._path_of(entry), 0)
        return self._inner.link_target(entry)

    @override
    def close(self) -> None:
        self._inner.close()

    def _path_of(self, entry: Entry) -> bytes:
        return os.path.join(self.path, entry.name)  # noqa: PTH118  # paths of bytes


class _HookedFile(OpenedFile):
    def __init__(self, inner: OpenedFile, path: bytes, hook: Hook) -> None:
        self._inner = inner
        self._path = path
        self._hook = hook
        self.entry = inner.entry
        self.is_stream = inner.is_stream

    @override
    def extents(self) -> Sequence[Extent] | None:
        return self._inner.extents()

    @override
    def read_at(self, offset: int, length_bytes: int) -> bytes:
        self._hook("read", self._path, offset)
        return self._inner.read_at(offset, length_bytes)

    @override
    def has_changed(self) -> bool:
        return self._inner.has_changed()

    @override
    def close(self) -> None:
        self._inner.close()
