"""An engine on fakes: a tree, objects and a store in memory, a clock that is turned by hand."""

import shutil

import pytest

from backapp_core.assembly import assemble
from backapp_core.events import Recording
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.ports.transports import TransportKind
from backapp_core.testing.fakes import FrozenClock, MemoryBucket, MemoryTransport, make_surroundings
from backapp_core.testing.memory_archiver import MEMORY_ARCHIVER
from backapp_core.testing.memory_scanner import memory_scanner
from backapp_plugins.stores.sql import open_fleet

MEMORY = "fake:memory"


class Fakes:
    """A plugin; what it offers stands in dictionaries that tests change."""

    def __init__(self):
        self.tree = {}
        self.buckets = {}

    @hookimpl
    def backapp_scanners(self):
        return [memory_scanner(self.tree)]

    @hookimpl
    def backapp_archivers(self):
        return [MEMORY_ARCHIVER]

    @hookimpl
    def backapp_transports(self):
        def opened(address, surroundings):
            bucket = self.buckets.setdefault(address, MemoryBucket(clock=surroundings.clock))
            return MemoryTransport(bucket)

        return [TransportKind("fake", frozenset({"fake"}), str, str, opened)]


@pytest.fixture
def fakes():
    return Fakes()


@pytest.fixture
def tree(fakes):
    return fakes.tree


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def events():
    return Recording()


@pytest.fixture
def extra_plugins():
    """Further plugins by name; test modules override it."""
    return {}


@pytest.fixture
def engine(tmp_path, fakes, clock, events, extra_plugins):
    plugins = PluginManager(
        [("fakes", "", fakes), *((name, "", plugin) for name, plugin in extra_plugins.items())]
    )
    surroundings = make_surroundings(tmp_path / "around", clock=clock, events=events)
    with assemble(plugins=plugins, surroundings=surroundings) as engine:
        yield engine


@pytest.fixture
def repository(engine):
    with engine.create_repository(MEMORY, archiver="memory") as repository:
        yield repository


@pytest.fixture
def take(engine, repository, tree, clock):
    """Set the tree, wait a minute, back it up, and return the snapshot."""

    def take(contents, roots=("/home",), **request):
        from backapp_core import BackupRequest

        tree.clear()
        tree.update(contents)
        clock.advance(60)
        encoded = tuple(root.encode() for root in roots)
        return engine.backup(repository, BackupRequest(encoded, **request)).snapshot

    return take


@pytest.fixture(scope="session")
def empty_fleet_file(tmp_path_factory):
    """What a server remembers before anything happened; making the tables takes a while."""
    folder = tmp_path_factory.mktemp("empty")
    open_fleet(f"sqlite://{folder / 'fleet.db'}", make_surroundings(folder)).close()
    return folder / "fleet.db"


@pytest.fixture
def fleet(empty_fleet_file, tmp_path):
    """What a server remembers, in a file of its own."""
    shutil.copy(empty_fleet_file, tmp_path / "fleet.db")
    with open_fleet(f"sqlite://{tmp_path / 'fleet.db'}", make_surroundings(tmp_path)) as fleet:
        yield fleet
