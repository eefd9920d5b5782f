"""What is looked at while a key is made is what a scan finds, and nothing is told early."""

import threading
import tracemalloc
from collections.abc import Callable, Iterator, Sequence

import pytest
from typing_extensions import override

from backapp_core import BackupRequest
from backapp_core.engine.scan_ahead import AheadScanner, HeldEvents
from backapp_core.errors import SourceNotFound, WrongPassword
from backapp_core.events import Level, LogLine, Recording
from backapp_core.hookspecs import hookimpl
from backapp_core.model.entries import Entry
from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.packed_entries import encoded_entries
from backapp_core.ports.scanners import FoundDirectory, Scanner
from backapp_core.ports.surroundings import Keys
from backapp_core.testing.fakes import FrozenClock
from backapp_core.testing.memory_archiver import MEMORY_ARCHIVER

KEYED = "fake:keyed"


class Folder(FoundDirectory):
    """A directory of which nothing but its number matters."""

    def __init__(self, number: int, entries: Sequence[Entry]) -> None:
        self.number = number
        self.entries = entries
        self.is_closed = False

    open = attributes = link_target = None

    @override
    def close(self) -> None:
        self.is_closed = True


Folder.__abstractmethods__ = frozenset()


class Numbers(Scanner):
    """Hands over so many directories, and tells of each."""

    def __init__(self, count: int, events, *, error: Exception | None = None) -> None:
        self.roots = (b"/",)
        self.count = count
        self.events = events
        self.error = error
        self.made: list[Folder] = []
        self.entries: list[Entry] = []
        self.make: Callable[[], list[Entry]] = lambda: self.entries
        self.threads: set[str] = set()
        self.is_over = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        try:
            for number in range(self.count):
                self.goes_on.wait(30)
                self.threads.add(threading.current_thread().name)
                self.events(LogLine(Level.INFO, f"{number}"))
                self.made.append(Folder(number, self.make()))
                yield self.made[-1]
            if self.error is not None:
                raise self.error
        finally:
            self.is_over = True

    @property
    @override
    def problems(self) -> int:
        return 7

    @override
    def user_name(self, uid: int) -> str:
        return "user"

    @override
    def group_name(self, gid: int) -> str:
        return "group"


@pytest.fixture
def told() -> Recording:
    return Recording()


@pytest.fixture
def ahead(told):
    def make(count: int, **options) -> tuple[AheadScanner, Numbers]:
        held = HeldEvents(told)
        inner = Numbers(count, held, **options)
        return AheadScanner(inner, held, FrozenClock()), inner

    return make


def numbers(scanner: Scanner) -> list[int]:
    return [found.number for found in scanner.scan()]


def texts(told: Recording) -> list[str]:
    return [one.text for one in told.of(LogLine)]


def until_over(inner: Numbers) -> None:
    while not inner.is_over:
        threading.Event().wait(0.001)


def test_all_is_handed_over_in_order_and_nothing_is_told_before(ahead, told):
    scanner, inner = ahead(20)
    scanner.begin()
    until_over(inner)
    assert told.events == []
    assert numbers(scanner) == list(range(20))
    assert texts(told) == [f"{number}" for number in range(20)]
    assert inner.threads == {"scan ahead"}


def test_a_scan_that_was_not_begun_is_the_other_one(ahead, told):
    scanner, inner = ahead(3)
    assert numbers(scanner) == [0, 1, 2]
    assert scanner.began_at is None
    assert len(texts(told)) == 3
    assert inner.threads == {threading.current_thread().name}


def test_what_is_not_looked_at_ahead_is_looked_at_later(ahead, monkeypatch):
    monkeypatch.setattr("backapp_core.engine.scan_ahead._MOST_AHEAD", 5)
    scanner, inner = ahead(20)
    scanner.begin()
    scanner.rest()
    assert 0 < len(inner.made) <= 5
    assert numbers(scanner) == list(range(20))
    assert len(inner.threads) == 2
    assert inner.is_over


def test_a_scan_that_rests_goes_on_where_it_was(ahead):
    scanner, inner = ahead(2000)
    scanner.begin()
    scanner.rest()
    before = len(inner.made)
    assert numbers(scanner) == list(range(2000))
    assert before < 2000 or len(inner.threads) == 1


def test_it_is_as_old_as_its_beginning(ahead):
    scanner, _ = ahead(1)
    scanner.begin()
    scanner.begin()
    assert scanner.began_at == FrozenClock().now()
    scanner.close()


def test_what_goes_wrong_is_raised_where_the_scan_is_asked_for(ahead):
    scanner, inner = ahead(2, error=SourceNotFound("nothing to back up"))
    scanner.begin()
    until_over(inner)
    found = scanner.scan()
    assert [next(found).number, next(found).number] == [0, 1]
    with pytest.raises(SourceNotFound):
        next(found)


def test_a_scan_that_is_not_wanted_any_more_is_given_up(ahead, told, monkeypatch):
    monkeypatch.setattr("backapp_core.engine.scan_ahead._MOST_AHEAD", 5)
    scanner, inner = ahead(20)
    scanner.begin()
    scanner.close()
    scanner.close()
    assert inner.is_over
    assert all(found.is_closed for found in inner.made)
    assert told.events == []


def test_a_scan_that_is_dropped_on_the_way_is_given_up(ahead):
    scanner, inner = ahead(20)
    scanner.begin()
    until_over(inner)
    found = scanner.scan()
    next(found)
    found.close()
    assert all(one.is_closed for one in inner.made[1:])


def test_streams_are_not_begun(ahead):
    scanner, inner = ahead(3)
    scanner.has_streams = True
    scanner.begin()
    assert scanner.began_at is None
    assert inner.made == []
    assert numbers(scanner) == [0, 1, 2]


def test_the_rest_is_the_other_scanners(ahead):
    scanner, _ = ahead(0)
    assert (scanner.problems, scanner.user_name(0), scanner.group_name(0)) == (7, "user", "group")
    assert scanner.roots == (b"/",)


class Keyed:
    """An archiver that asks for the password, and looks at it for a while."""

    def __init__(self) -> None:
        self.meanwhile = lambda: None
        self.is_wrong = False

    def open(self, transport, keys, surroundings):
        assert keys.password() == "secret"
        self.meanwhile()
        if self.is_wrong:
            raise WrongPassword("wrong password")
        return MEMORY_ARCHIVER.open(transport, keys, surroundings)

    @hookimpl
    def backapp_archivers(self):
        return [
            ArchiverKind(
                name="keyed",
                settings=MEMORY_ARCHIVER.settings,
                recognises=MEMORY_ARCHIVER.recognises,
                create=MEMORY_ARCHIVER.create,
                open=self.open,
            )
        ]


@pytest.fixture
def keyed() -> Keyed:
    return Keyed()


@pytest.fixture
def extra_plugins(keyed):
    return {"keyed": keyed}


@pytest.fixture
def keys() -> Keys:
    return Keys(password=lambda: "secret")


@pytest.fixture
def opened(engine, fakes, monkeypatch, keyed, keys):
    """Return a function that opens a repository for a backup; the other archiver looks away."""
    engine.create_repository(KEYED, archiver="memory").close()
    kinds = {kind.name: kind for kind in engine.plugins.archivers.kinds}
    monkeypatch.setattr(type(engine.plugins.archivers), "kinds", [kinds["keyed"]], raising=False)
    return lambda sources: engine.open_repository(KEYED, keys=keys, sources=sources)


def test_a_backup_takes_up_what_was_begun(engine, opened, tree, clock, keyed):
    tree[b"/home/a"] = b"1"
    began_at = clock.now()
    keyed.meanwhile = lambda: clock.advance(60)
    request = BackupRequest((b"/home",))
    with opened(request) as repository:
        snapshot = engine.backup(repository, request).snapshot
        assert (snapshot.taken_at, snapshot.counts.files) == (began_at, 1)
        clock.advance(60)
        assert engine.backup(repository, request).snapshot.taken_at == clock.now()


def test_another_request_is_not_what_was_begun(engine, opened, tree, clock, keyed):
    tree.update({b"/home/a": b"1", b"/srv/b": b"2", b"/srv/c": b"3"})
    keyed.meanwhile = lambda: clock.advance(60)
    with opened(BackupRequest((b"/home",))) as repository:
        snapshot = engine.backup(repository, BackupRequest((b"/srv",))).snapshot
    assert (snapshot.taken_at, snapshot.counts.files) == (clock.now(), 2)


def test_a_wrong_password_leaves_no_scan(opened, tree, keyed):
    tree[b"/home/a"] = b"1"
    keyed.is_wrong = True
    with pytest.raises(WrongPassword):
        opened(BackupRequest((b"/home",)))
    assert not [one for one in threading.enumerate() if one.name == "scan ahead"]


@pytest.mark.parametrize("roots", [(), (b"/missing",)])
def test_what_is_wrong_with_sources_is_said_by_the_backup(engine, opened, roots):
    request = BackupRequest(roots)
    with opened(request) as repository, pytest.raises(Exception, match="source"):
        engine.backup(repository, request)


def entry(number: int, mtime_ns: int = -5) -> Entry:
    """Return an entry with all kinds of facts."""
    name, size_bytes = b"\xff%d" % number, number
    return Entry(
        name, 0o100644, 2**32 - 2, 0, size_bytes, mtime_ns, 10**18, 2**63, 7, 1, 0, number * 512
    )


@pytest.mark.parametrize("mtime_ns", [-5, 10**20, -(2**80)])
@pytest.mark.parametrize("count", [0, 1, 3, 20_000])
def test_entries_that_waited_are_the_same_ones(ahead, count, mtime_ns):
    scanner, inner = ahead(2)
    inner.entries = entries = [entry(number) for number in range(count)]
    entries[-1:] = [one._replace(mtime_ns=mtime_ns) for one in entries[-1:]]
    scanner.begin()
    until_over(inner)
    for found in scanner.scan():
        assert list(encoded_entries(found.entries)) == list(encoded_entries(entries))
        assert len(found.entries) == count
        assert list(found.entries) == entries
        assert list(found.entries[1:3]) == entries[1:3]
        assert all(type(one) is Entry for one in found.entries)
        assert found.entries[-1:] == entries[-1:]


def test_entries_that_wait_take_little_memory(ahead):
    scanner, inner = ahead(50)
    inner.make = lambda: [entry(number + 10**9) for number in range(1000)]
    tracemalloc.start()
    try:
        scanner.begin()
        until_over(inner)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 50 * 1000 * 100
    assert sum(len(found.entries) for found in scanner.scan()) == 50 * 1000
