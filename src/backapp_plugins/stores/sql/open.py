"""Opens the store that a URL names, making the file and its tables as needed."""

import os
import re
import stat
import threading
from pathlib import Path

from backapp_core.plugin_api import InvalidAddress, StoreUnavailable, Surroundings, to_line
from backapp_plugins.stores.sql.database import Database
from backapp_plugins.stores.sql.schema import bring_up_to_date
from backapp_plugins.stores.sql.sqlite import SqliteDatabase, translated

_HINT = "write it as sqlite:///absolute/path"
# Files are made by one thread at a time: closing a descriptor of a file drops the locks that SQLite
# holds on it for this whole process.
_MAKING_FILES = threading.Lock()


def open_database(url: str, surroundings: Surroundings) -> Database:
    """Open the database at ``url`` and bring its tables up to date.

    An SQLite file is made as needed, with mode 0600, and missing folders with mode 0700. A
    PostgreSQL database has to be there, tables are made as needed.

    Raises:
        InvalidAddress: If ``url`` names no absolute path, or no PostgreSQL database.
        StoreUnavailable: If it cannot be opened or created, or is no store.
        StoreTooNew: If a newer BackApp wrote it.
    """
    database = _database(url, surroundings)
    try:
        bring_up_to_date(database)
    except BaseException:
        database.close()
        raise
    return database


def _database(url: str, surroundings: Surroundings) -> Database:
    if url.partition(":")[0].partition("+")[0].lower() == "postgresql":
        # psycopg is asked for by those alone who have such a store.
        from backapp_plugins.stores.sql.postgres import PostgresDatabase

        return PostgresDatabase(url, surroundings.events)
    path = path_of(url)
    with _MAKING_FILES, translated(path):
        _make_file(path)
    return SqliteDatabase(path, surroundings.clock, surroundings.events)


def path_of(url: str) -> Path:
    """Return the path that a store URL names.

    ``sqlite:///a/b``, ``sqlite:////a/b`` and ``sqlite:/a/b`` mean ``/a/b``. There are no relative
    paths (the same settings would mean another store in another folder), no parameters and no
    escapes in it.

    Raises:
        InvalidAddress: If it names no absolute path.
    """
    shown = to_line(url)
    scheme, _, rest = url.partition(":")
    if scheme.lower() != "sqlite":
        raise InvalidAddress(f"'{shown}' is no address of an SQLite store; {_HINT}")
    if ":memory:" in rest or rest in {"", "//"}:
        raise InvalidAddress(
            f"'{shown}' names no file; {_HINT}, since a store must outlive its process"
        )
    if rest.startswith("//") and not rest.startswith("///"):
        raise InvalidAddress(f"'{shown}' names a machine; an SQLite store is a local file: {_HINT}")
    if "?" in rest or not to_line(rest) == rest:
        raise InvalidAddress(
            f"'{shown}' holds a question mark or an unprintable character; {_HINT}"
        )
    path = Path(
        re.sub(r"^/+(?=[A-Za-z]:)", "", rest) if os.name == "nt" else re.sub(r"^/+", "/", rest)
    )
    if not path.is_absolute():
        raise InvalidAddress(f"'{shown}' is no absolute path; {_HINT}")
    return path


def _make_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        _make_folders(path.parent)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return  # another process was faster
        return
    if not stat.S_ISREG(found.st_mode):
        raise StoreUnavailable(f"the store {to_line(str(path))} is not a regular file")


def _make_folders(folder: Path) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        # Not mkdir(parents=True), which gives the folders on the way the usual mode.
        parent.mkdir(mode=0o700, exist_ok=True)
