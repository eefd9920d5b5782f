"""Any file system that fsspec opens, taken at the little that all of them promise.

They differ in whether a rename replaces, and none creates a name exclusively, so a name is looked
at and given under one lock of this process: of two processes that store one new name at the same
time both may succeed, and the later one stays.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from typing_extensions import override

from backapp_core.plugin_api import (
    AccessRefused,
    BackappError,
    InvalidAddress,
    ObjectExists,
    ObjectMissing,
    PartMissing,
    StorageFull,
    TransferCut,
    TransportUnavailable,
)
from backapp_plugins.transports.fsspec_url.disk import CHUNK_BYTES, Disk, Draft, Found

_naming = threading.Lock()
_MODIFIED_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


def open_disk(url: str, options: Mapping[str, Any], address: str) -> Disk:
    """Open whatever fsspec knows under ``url``.

    Raises:
        InvalidAddress: If fsspec does not know its scheme.
        PartMissing: If fsspec, or what it needs for this scheme, is not installed.
    """
    try:
        from fsspec import core as untyped
    except ImportError:
        raise PartMissing(f"'{address}' needs fsspec; pip install 'backapp[fsspec]'") from None
    try:
        # Remembered listings and instances would show what was there a while ago.
        core: Any = untyped
        opened = core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False, **options)
    except ImportError as error:
        raise PartMissing(f"'{address}' cannot be opened: {error}") from error
    except (ValueError, TypeError) as error:
        raise InvalidAddress(f"address '{address}' cannot be understood") from error
    except Exception as error:
        explained = _explanation(f"'{address}'", error)
        raise explained from error
    return FsspecDisk(opened[0], opened[1], address)


class FsspecDisk(Disk):
    """One of fsspec's file systems."""

    def __init__(self, system: Any, root: str, address: str) -> None:
        self.address = address
        self._system = system
        self._root = root.rstrip("/")
        # Its opened files share one position, so content is fetched in one piece instead.
        self._is_memory = "memory" in _protocols(system)

    @override
    def stat(self, path: str) -> Found:
        with self.explained(path):
            return self._found(self._system.info(self._full(path)))

    @override
    def entries(self, folder: str) -> Sequence[Found]:
        with self.explained(folder):
            self._system.invalidate_cache(self._full(folder))
            infos = self._system.ls(self._full(folder), detail=True)
            found = [self._found(info) for info in infos]
        return [entry for entry in found if entry.path != folder]

    @override
    def chunks(self, path: str, offset: int, length_bytes: int | None) -> Generator[bytes]:
        found = self.stat(path)
        if not found.is_file:
            raise ObjectMissing(f"object '{path}' does not exist; something else has its name")
        end = found.size_bytes
        if length_bytes is not None:
            end = min(end, offset + length_bytes)
        if self._is_memory or end - offset <= CHUNK_BYTES:
            yield from self._in_one_piece(path, offset, end)
        else:
            yield from self._in_pieces(path, offset, end)

    @override
    def draft(self, path: str) -> Draft:
        with self.explained(path):
            return _FsspecDraft(self, path, self._system.open(self._full(path), "wb"))

    @override
    def publish(self, draft: str, final: str, *, replace: bool) -> None:
        with _naming, self.explained(final):
            if not replace and self._system.exists(self._full(final)):
                raise ObjectExists(f"object '{final}' exists already")
            self._system.mv(self._full(draft), self._full(final))

    @override
    def remove(self, path: str) -> None:
        with self.explained(path):
            self._system.rm_file(self._full(path))

    @override
    def make_folder(self, path: str) -> None:
        with self.explained(path):
            self._system.makedirs(self._full(path), exist_ok=True)

    @override
    def make_root(self) -> None:
        if self._root:
            self.make_folder("")

    @override
    def close(self) -> None:
        """Nothing to do; these file systems let go when they are dropped."""

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root or "/"

    def _found(self, info: Mapping[str, Any]) -> Found:
        name = str(info["name"]).rstrip("/")
        return Found(
            path=name.removeprefix(self._root).lstrip("/"),
            is_file=info["type"] == "file",
            is_folder=info["type"] == "directory",
            size_bytes=int(info.get("size") or 0),
            modified_at=_moment(info),
        )

    def _in_one_piece(self, path: str, offset: int, end: int) -> Generator[bytes]:
        data = b""
        if offset < end:
            with self.explained(path):
                data = self._system.cat_file(self._full(path), start=offset, end=end)
            if len(data) != end - offset:
                raise TransferCut(f"object '{path}' came incompletely")
        yield b""
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]

    def _in_pieces(self, path: str, offset: int, end: int) -> Generator[bytes]:
        with self.explained(path):
            file = self._system.open(self._full(path), "rb")
        with file:
            with self.explained(path):
                file.seek(offset)
            yield b""
            while offset < end:
                with self.explained(path):
                    chunk: bytes = file.read(min(CHUNK_BYTES, end - offset))
                if not chunk:
                    raise TransferCut(f"object '{path}' came incompletely")
                offset += len(chunk)
                yield chunk

    @contextlib.contextmanager
    def explained(self, path: str) -> Generator[None]:
        """Turn whatever a vendor raises into ours, about the object ``path``."""
        try:
            yield
        except Exception as error:
            if isinstance(error, BackappError):
                raise
            what = f"object '{path}' at '{self.address}'" if path else f"'{self.address}'"
            explained = _explanation(what, error)
            raise explained from error


class _FsspecDraft(Draft):
    def __init__(self, disk: FsspecDisk, path: str, file: Any) -> None:
        self._disk = disk
        self._path = path
        self._file = file

    @override
    def write(self, data: bytes | bytearray) -> None:
        with self._disk.explained(self._path), memoryview(bytes(data)) as rest:
            done = 0
            while done < len(rest):
                done += self._file.write(rest[done:])

    @override
    def finish(self) -> None:
        with self._disk.explained(self._path):
            self._file.flush()
            descriptor = _descriptor(self._file)
            if descriptor is not None:
                os.fsync(descriptor)
            self._file.close()

    @override
    def close(self) -> None:
        with self._disk.explained(self._path):
            if not self._file.closed:
                self._file.close()


def _descriptor(file: Any) -> int | None:
    """Return the descriptor of a file of this machine; other files have none."""
    try:
        descriptor = file.fileno()
    except (AttributeError, NotImplementedError, OSError):
        return None
    return descriptor if isinstance(descriptor, int) else None


def _protocols(system: Any) -> Sequence[str]:
    protocol = system.protocol
    return [protocol] if isinstance(protocol, str) else [*protocol]


def _moment(info: Mapping[str, Any]) -> datetime | None:
    for key in _MODIFIED_KEYS:
        value = info.get(key)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
    return None


def _explanation(what: str, error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ObjectMissing(f"{what} does not exist")
    if isinstance(error, FileExistsError | IsADirectoryError):
        return ObjectExists(f"{what} exists already")
    if isinstance(error, PermissionError | NotImplementedError):
        return AccessRefused(f"{what} cannot be accessed that way")
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return StorageFull(f"there is no room for {what}")
    # The vendor's own words may repeat the URL with its password; they stay in the chained error.
    return TransportUnavailable(f"{what} cannot be reached ({type(error).__name__})")
