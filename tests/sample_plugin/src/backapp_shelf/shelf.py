"""A transport whose objects are rows of a SQLite file.

Chunks are written as they come, under a number that nobody else has; one transaction at the end
gives them their name. What a killed writer leaves behind has no name and is swept by `Shelf.tidy`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from attrs import frozen
from typing_extensions import override

from backapp_core.plugin_api import (
    AccessRefused,
    Body,
    Clock,
    InvalidAddress,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    StorageFull,
    Surroundings,
    TransferCut,
    Transport,
    TransportUnavailable,
    check_object_name,
    check_object_prefix,
)

_CHUNK_BYTES = 1 << 20
_PATIENCE_SECONDS = 60
_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    name TEXT PRIMARY KEY, upload TEXT NOT NULL, size INTEGER NOT NULL, at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (
    upload TEXT NOT NULL, start INTEGER NOT NULL, at REAL NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (upload, start));
"""


@frozen
class ShelfSettings:
    """What an address says."""

    file: str


def parse_shelf(address: str) -> ShelfSettings:
    """Read ``shelf:/path/to/file``.

    Raises:
        InvalidAddress: If no file is named.
    """
    file = address.removeprefix("shelf:")
    if not file:
        raise InvalidAddress("a shelf address names a file, as in shelf:/srv/backup.db")
    return ShelfSettings(file)


def open_shelf(settings: ShelfSettings, surroundings: Surroundings) -> Transport:
    """Open the transport; the file is made by the first `Shelf.prepare` or `Shelf.put`."""
    return Shelf(Path(settings.file).absolute(), surroundings)


class Shelf(Transport):
    """Every call has a connection of its own, so any number of threads may share one."""

    def __init__(self, path: Path, surroundings: Surroundings) -> None:
        self._path = path
        self._clock: Clock = surroundings.clock
        self._random_bytes = surroundings.random_bytes

    @property
    @override
    def address(self) -> str:
        return f"shelf:{self._path}"

    @override
    def put(
        self,
        name: str,
        body: Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        check_object_name(name)
        self.prepare()
        upload = self._random_bytes(16).hex()
        stored_bytes = 0
        try:
            for chunk in body:
                self._write(
                    "INSERT INTO chunks VALUES (?, ?, ?, ?)",
                    *self._rows(upload, stored_bytes, chunk),
                )
                stored_bytes += len(chunk)
            if size_bytes not in {None, stored_bytes}:
                raise TransferCut(f"object '{name}' was to have {size_bytes} bytes")  # noqa: TRY301  # swept below
            self._name(name, upload, stored_bytes, replace=replace)
        except BaseException:
            self._write("DELETE FROM chunks WHERE upload = ?", (upload,))
            raise
        return stored_bytes

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        upload, size_bytes, _ = self._find(name)
        end = size_bytes if length_bytes is None else min(size_bytes, offset + length_bytes)
        return self._read(name, upload, offset, end)

    @override
    def stat(self, name: str) -> ObjectInfo:
        _, size_bytes, at = self._find(name)
        return ObjectInfo(name, size_bytes, datetime.fromisoformat(at))

    @override
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        check_object_prefix(prefix)
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT name, size, at FROM objects WHERE substr(name, 1, ?) = ?",
                (len(prefix), prefix),
            ).fetchall()
        return (ObjectInfo(name, size, datetime.fromisoformat(at)) for name, size, at in rows)

    @override
    def delete(self, name: str) -> None:
        check_object_name(name)
        with self._connection() as connection, connection:
            connection.execute(
                "DELETE FROM chunks WHERE upload IN (SELECT upload FROM objects WHERE name = ?)",
                (name,),
            )
            connection.execute("DELETE FROM objects WHERE name = ?", (name,))

    @override
    def prepare(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AccessRefused(f"{self._path.parent} cannot be made: {error.strerror}") from error
        with self._connection(make=True) as connection:
            connection.executescript(_TABLES)

    @override
    def close(self) -> None:
        """Nothing is held between calls."""

    def tidy(self, *, older_than_seconds: float) -> int:
        """Remove chunks that no object has and no writer has added to for that long."""
        before = self._clock.now().timestamp() - older_than_seconds
        with self._connection() as connection, connection:
            found = connection.execute(
                "SELECT upload FROM chunks GROUP BY upload HAVING max(at) < ? "
                "AND upload NOT IN (SELECT upload FROM objects)",
                (before,),
            ).fetchall()
            connection.executemany("DELETE FROM chunks WHERE upload = ?", found)
        return len(found)

    def _rows(self, upload: str, start: int, chunk: bytes) -> Iterator[tuple[object, ...]]:
        at = self._clock.now().timestamp()
        for offset in range(0, len(chunk), _CHUNK_BYTES):
            yield upload, start + offset, at, chunk[offset : offset + _CHUNK_BYTES]

    def _write(self, statement: str, *rows: tuple[object, ...]) -> None:
        with self._connection() as connection, connection:
            connection.executemany(statement, rows)

    def _name(self, name: str, upload: str, size_bytes: int, *, replace: bool) -> None:
        row = (name, upload, size_bytes, self._clock.now().isoformat())
        with self._connection() as connection:
            try:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    if replace:
                        connection.execute(
                            "DELETE FROM chunks WHERE upload IN "
                            "(SELECT upload FROM objects WHERE name = ?)",
                            (name,),
                        )
                        connection.execute("DELETE FROM objects WHERE name = ?", (name,))
                    connection.execute("INSERT INTO objects VALUES (?, ?, ?, ?)", row)
            except sqlite3.IntegrityError:
                raise ObjectExists(f"object '{name}' exists already") from None

    def _find(self, name: str) -> tuple[str, int, str]:
        check_object_name(name)
        with self._connection() as connection:
            row = connection.execute(
                "SELECT upload, size, at FROM objects WHERE name = ?", (name,)
            ).fetchone()
        if row is None:
            raise ObjectMissing(f"object '{name}' does not exist")
        return row[0], row[1], row[2]

    def _read(self, name: str, upload: str, offset: int, end: int) -> Iterator[bytes]:
        while offset < end:
            with self._connection() as connection:
                row = connection.execute(
                    "SELECT start, data FROM chunks WHERE upload = ? AND start <= ? "
                    "ORDER BY start DESC LIMIT 1",
                    (upload, offset),
                ).fetchone()
            data = row[1][offset - row[0] : end - row[0]] if row else b""
            if not data:
                raise TransferCut(f"object '{name}' was deleted while it was read")
            yield data
            offset += len(data)

    @contextmanager
    def _connection(self, *, make: bool = False) -> Iterator[sqlite3.Connection]:
        """Open the file, or nothing if it is not there, and translate what SQLite says."""
        file = self._path if make or self._path.exists() else ":memory:"
        try:
            with closing(sqlite3.connect(file, timeout=_PATIENCE_SECONDS)) as connection:
                if file == ":memory:":
                    connection.executescript(_TABLES)
                yield connection
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise StorageFull(f"there is no room left for {self._path}") from error
            raise TransportUnavailable(f"{self._path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise TransportUnavailable(f"{self._path} is no shelf: {error}") from error
