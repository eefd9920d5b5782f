"""What tests of archivers share: a repository, a source, and ways to use both."""

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import msgspec
import pyrage
import pytest
from attrs import evolve

from backapp_core.clock import Clock, SystemClock
from backapp_core.engine.extract import ExtractOptions, FolderTarget
from backapp_core.events import Recording
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import RemovalPlan
from backapp_core.model.restores import RestoreOutcome
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.surroundings import NO_KEYS, Keys, Surroundings
from backapp_core.ports.targets import Everything, Selection
from backapp_core.ports.transports import Transport
from backapp_core.testing.fakes import (
    AheadClock,
    FrozenClock,
    MemoryBucket,
    MemoryTransport,
    make_surroundings,
)
from backapp_core.testing.tree_facts import Facts
from backapp_core.testing.trees import describe_tree
from backapp_plugins.archivers.restic import backapp_archivers as restic_archivers
from backapp_plugins.archivers.restic.access import key_files
from backapp_plugins.archivers.restic.access.keys import OpenedKey
from backapp_plugins.archivers.restic.backup import small_files
from backapp_plugins.archivers.restic.format.config import Config, encode_config
from backapp_plugins.archivers.restic.format.crypto import MasterKey
from backapp_plugins.archivers.restic.format.layout import BlobKind, pack_name
from backapp_plugins.archivers.restic.format.packs import PackEntry, encode_header, encode_trailer
from backapp_plugins.archivers.restic.format.snapshots import Totals, encode_snapshot
from backapp_plugins.archivers.restic.format.trees import TreeNode, encode_node, join_nodes
from backapp_plugins.archivers.restic.format.unpacked import seal_description
from backapp_plugins.archivers.restic.index.files import encode_index
from backapp_plugins.archivers.restic.place import Place
from backapp_plugins.archivers.restic.workers import crew as crews
from backapp_plugins.archivers.restic.workers.worker import Worker
from backapp_plugins.archivers.targz import backapp_archivers
from backapp_plugins.archivers.targz.settings import TargzSettings
from backapp_plugins.scanners.files import open_files
from backapp_plugins.scanners.files.settings import FilesSettings

KIND = backapp_archivers()[0]


@pytest.fixture(autouse=True)
def waits_for_nobody(locks_are_seen_at_once: None) -> None:
    """Most tests here have a repository for themselves."""


_READY_SECONDS = 30
EMPTY: Mapping[str, bytes] = MappingProxyType({})


class Workbench:
    """A source folder and a repository, and what one does with them."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        kind: ArchiverKind = KIND,
        settings: object = None,
        keys: Keys = NO_KEYS,
        transport: Transport | None = None,
        source: Path | None = None,
        folders: Path | None = None,
    ) -> None:
        self.folder = folder
        self.source = source or folder / "source"
        self.source.mkdir(parents=True, exist_ok=True)
        self.recording = Recording()
        self.surroundings = Surroundings(
            cache_folder=(folders or folder) / "cache",
            state_folder=(folders or folder) / "state",
            clock=clock or AheadClock(),
            events=self.recording,
        )
        self.kind = kind
        self.keys = keys
        self.bucket = MemoryBucket()
        self.transport = transport or MemoryTransport(self.bucket)
        self.transport.prepare()
        if kind.recognises(self.transport):
            self.repository = self.open()
        else:
            self.repository = self.create(self.transport, settings)
        self._restores = 0

    def create(self, transport: Transport, settings: object = None) -> Repository:
        """Create a repository of this kind, with this bench's keys."""
        chosen = settings or self.kind.settings()
        return self.kind.create(transport, chosen, self.keys, self.surroundings)

    def open(
        self, transport: Transport | None = None, *, keys: Keys | None = None, **changes: object
    ) -> Repository:
        """Open the repository, perhaps by way of another transport or in other surroundings."""
        return self.kind.open(
            transport or self.transport,
            self.keys if keys is None else keys,
            evolve(self.surroundings, **changes),
        )

    def scanner(self, *roots: Path, surroundings: Surroundings | None = None, **rules: object):
        paths = tuple(map(os.fsencode, roots or (self.source,)))
        settings = FilesSettings(roots=paths, **rules)
        return open_files(settings, surroundings or self.surroundings)

    def back_up(
        self, *roots: Path, repository: Repository | None = None, **options: object
    ) -> Snapshot:
        chosen = evolve(BackupOptions(hostname="host", username="user"), **options)
        return (repository or self.repository).backup(self.scanner(*roots), chosen).snapshot

    def extract(
        self,
        snapshot: Snapshot,
        *,
        selection: Selection = Everything(),
        repository: Repository | None = None,
    ) -> tuple[Path, RestoreOutcome]:
        """Restore and return where the root of the file system lies now, and the outcome."""
        self._restores += 1
        top = self.folder / f"restored-{self._restores}"
        target = FolderTarget(os.fsencode(top), ExtractOptions(), self.surroundings)
        (repository or self.repository).restore(snapshot, target, selection)
        return top, target.outcome

    def differences(
        self,
        snapshot: Snapshot,
        wanted: Mapping[bytes, Facts],
        *,
        repository: Repository | None = None,
    ) -> list[str]:
        """Restore and return one line per path of the source that is not as it should be."""
        top, outcome = self.extract(snapshot, repository=repository)
        assert outcome.not_restored == ()
        assert outcome.incomplete == ()
        actual = describe_tree(top / self.source.relative_to("/"))
        os.system(f"rm -rf '{top}'")  # paths of this test, longer than rmtree can take
        return [
            f"{path!r}: {wanted.get(path)} / {actual.get(path)}"
            for path in sorted(wanted.keys() | actual.keys())
            if wanted.get(path) != actual.get(path)
        ]

    def facts(self) -> Mapping[bytes, Facts]:
        """Return the facts of the source as it is now."""
        return describe_tree(self.source)

    def clean_up(self, repository: Repository | None = None) -> None:
        chosen = repository or self.repository
        chosen.clean_up(chosen.plan_clean_up())

    def forget(self, *snapshots: Snapshot) -> None:
        doomed = {snapshot.id for snapshot in snapshots}
        kept = tuple(each.id for each in self.repository.snapshots() if each.id not in doomed)
        self.repository.remove(RemovalPlan(keep=kept, remove=tuple(doomed)))


@pytest.fixture(scope="session")
def identity() -> pyrage.x25519.Identity:
    return pyrage.x25519.Identity.generate()


@pytest.fixture
def sealed(identity: pyrage.x25519.Identity, tmp_path: Path) -> dict[str, object]:
    """Return what makes a `Workbench` one of a sealed repository."""
    file = tmp_path / "identity.txt"
    file.write_text(f"{identity}\n")
    return {
        "settings": TargzSettings(recipients=(str(identity.to_public()),)),
        "keys": Keys(identity_files=(file,)),
    }


@pytest.fixture
def random_bytes() -> Callable[[int], bytes]:
    """Return a function that makes bytes which no compressor makes smaller."""
    return random.Random(1).randbytes


@pytest.fixture(params=["ahead", "real"])
def either_clock(request: pytest.FixtureRequest) -> Clock:
    """Return a clock on which unchanged folders are copied unseen, then one on which none are."""
    return AheadClock() if request.param == "ahead" else SystemClock()


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: sweeps wait for no disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def workbench(tmp_path: Path) -> Callable[..., Workbench]:
    """Return a function that makes a `Workbench`, in a folder of its own each time."""
    count = iter(range(1000))

    def make(**choices: object) -> Workbench:
        folder = tmp_path / f"bench-{next(count)}"
        return Workbench(folder, **choices)

    return make


@pytest.fixture
def bench(workbench: Callable[..., Workbench]) -> Workbench:
    """Return a `Workbench` of an open repository in memory."""
    return workbench()


PASSWORD = "secret"


class Restic:
    """The real restic at work on a repository in a folder."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.repository = repository
        (folder / "cache").mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "RESTIC_REPOSITORY": str(repository),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_PASSWORD2": PASSWORD,
            "RESTIC_CACHE_DIR": str(folder / "cache"),
        }

    def start(self, *command: str | Path, **options: object) -> subprocess.Popen[bytes]:
        """Return a running restic; ``TZ`` is this process's."""
        environment = {**self.environment, "TZ": os.environ.get("TZ", "")}
        return subprocess.Popen(
            ("restic", *command),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *command: str | Path, **options: object) -> str:
        """Return what it says when it succeeds."""
        status, said, complaint = self.try_to(*command, **options)
        assert status == 0, complaint
        return said

    def try_to(self, *command: str | Path, **options: object) -> tuple[int, str, str]:
        """Return exit status, output and complaints."""
        with self.start(*command, **options) as process:
            try:
                said, complaint = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return process.returncode, said.decode(errors="replace"), complaint.decode(errors="replace")

    def back_up(self, *command: str | Path, **options: object) -> Mapping[str, object]:
        """Back up and return the summary."""
        lines = self.run("backup", "--json", *command, **options).splitlines()
        summary = json.loads(lines[-1])
        assert summary["message_type"] == "summary"
        return summary

    def snapshots(self) -> Sequence[Mapping[str, object]]:
        """Return all snapshots, oldest first."""
        return sorted(json.loads(self.run("snapshots", "--json")), key=lambda one: one["time"])


@pytest.fixture
def restic_at(quick_folder: Path) -> Callable[[Path], Restic]:
    """Return a function that puts the real restic to work on the repository in a folder."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    return lambda repository: Restic(repository, quick_folder / "restic")


@pytest.fixture
def restic_workbench(quick_folder: Path, cheap_keys: None) -> Callable[..., Workbench]:
    """Return a function that makes a `Workbench` of the restic archiver, each in its folder."""
    chosen = {"kind": restic_archivers()[0], "keys": Keys(password=lambda: PASSWORD)}
    count = iter(range(1000))

    def make(folder: Path = quick_folder, **choices: object) -> Workbench:
        return Workbench(folder / f"bench-{next(count)}", **{**chosen, **choices})

    return make


@pytest.fixture
def restic_bench(restic_workbench: Callable[..., Workbench]) -> Workbench:
    """Return a `Workbench` of an open restic repository in memory."""
    return restic_workbench()


@pytest.fixture(params=["targz", "restic"])
def any_workbench(request: pytest.FixtureRequest) -> Callable[..., Workbench]:
    """Return a function that makes a `Workbench`: of one archiver, then of the other."""
    return request.getfixturevalue("workbench" if request.param == "targz" else "restic_workbench")


@pytest.fixture
def any_bench(any_workbench: Callable[..., Workbench]) -> Workbench:
    """Return a `Workbench` of an open repository in memory: of one archiver, then of the other."""
    return any_workbench()


class ByHand:
    """A repository of restic's format in memory that a test makes pack by pack."""

    def __init__(self, folder: Path, *, version: int = 2, **description: msgspec.Raw) -> None:
        self.recording = Recording()
        self.clock = FrozenClock()
        self.bucket = MemoryBucket(clock=self.clock)
        self.surroundings = make_surroundings(folder, clock=self.clock, events=self.recording)
        self.config = Config(version, "0" * 64, 0x3DA3358B4DC173, extra=description)
        self.place = self.reach(MemoryTransport(self.bucket))

    def reach(self, transport: Transport, **changes: object) -> Place:
        """Return the repository by way of another transport, or in other surroundings."""
        key = OpenedKey(b"k" * 32, MasterKey(b"e" * 32, b"k" * 16, b"r" * 16))
        return Place(transport, self.config, key, evolve(self.surroundings, **changes))

    def pack(
        self,
        *contents: bytes,
        kind: BlobKind = BlobKind.DATA,
        is_compressed: bool = True,
        is_listed: bool = True,
    ) -> bytes:
        """Store a pack of these contents, by default with an index object, and return its id."""
        entries: list[PackEntry] = []
        body = b""
        for content in contents:
            blob_id, codec = sha256(content).digest(), self.place.codec
            sealed = codec.encode(content, blob_id) if is_compressed else codec.sealer.seal(content)
            length = len(content) if is_compressed else 0
            entries.append(PackEntry(kind, blob_id, len(body), len(sealed), length))
            body += sealed
        header = self.place.codec.sealer.seal(encode_header(entries))
        body += header + encode_trailer(header)
        pack_id = sha256(body).digest()
        self.place.store(pack_name(pack_id), [body], len(body))
        if is_listed:
            self.index((pack_id, entries))
        return pack_id

    def index(self, *packs: tuple[bytes, Sequence[PackEntry]], marked=()) -> bytes:
        """Store an index object and return its id."""
        return self.place.write_document("index/", encode_index(packs, marked))[0]

    def tree(
        self, files: Mapping[str, Sequence[bytes]], folders: Mapping[str, bytes] = EMPTY, **keys
    ) -> bytes:
        """Store a tree of files, given by their contents in parts, and return its id."""
        nodes = {
            **{
                name: TreeNode(
                    name=name,
                    type="file",
                    size=sum(map(len, parts)),
                    content=[sha256(part).hexdigest() for part in parts],
                )
                for name, parts in files.items()
            },
            **{
                name: TreeNode(name=name, type="dir", content=None, subtree=tree.hex())
                for name, tree in folders.items()
            },
        }
        tree = join_nodes(encode_node(nodes[name]) for name in sorted(nodes))
        self.pack(tree, kind=BlobKind.TREE, **keys)
        return sha256(tree).digest()

    def snapshot(self, tree: bytes) -> str:
        """Store a snapshot of a tree, a second after the one before, and return its id."""
        self.clock.advance(1)
        now = self.clock.now()
        snapshot = Snapshot("", now, "host", "user", (b"/",))
        document = encode_snapshot(snapshot, tree, Totals(now, now))
        return self.place.write_document("snapshots/", document)[0].hex()

    def names(self, prefix: str) -> set[str]:
        """Return the names of all objects of a folder."""
        return {name for name in self.bucket.objects if name.startswith(prefix)}

    def write_out(self, folder: Path) -> None:
        """Write it to a folder where restic opens it with `PASSWORD`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(key_files, "_COST", 1024)  # as safe as the password of a test has to be
            key = key_files.seal_master_key(
                self.place.key.master,
                PASSWORD.encode(),
                os.urandom,
                created_at=self.clock.now(),
                username="user",
                hostname="host",
            )
        described = seal_description(self.place.codec, encode_config(self.config))
        extra = {f"keys/{sha256(key).hexdigest()}": key, "config": described}
        for name, data in {**self.bucket.objects, **extra}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name in ("locks", "snapshots", "index", "data"):
            (folder / name).mkdir(exist_ok=True)


@pytest.fixture
def by_hand(tmp_path: Path) -> ByHand:
    """Return an empty repository of restic's format."""
    return ByHand(tmp_path)


@pytest.fixture
def make_by_hand(tmp_path: Path) -> Callable[..., ByHand]:
    """Return a function that makes a `ByHand`, in a folder of its own each time."""
    count = iter(range(1000))
    return lambda **choices: ByHand(tmp_path / f"by-hand-{next(count)}", **choices)


class Watched:
    """The workers that were started, how often one was lent out, and how many jobs they got."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.lent = 0
        self.jobs = 0

    @property
    def are_gone(self) -> bool:
        return all(worker._process.returncode is not None for worker in self.workers)

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()  # also if another thread has just taken note that it ended


@pytest.fixture
def watched_workers(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Wait for workers until they are ready, wherever some are started."""
    watched = Watched()
    is_ready = Worker.is_ready

    def waits_until_ready(worker: Worker) -> bool:
        if worker not in watched.workers:
            watched.workers.append(worker)
            worker.connection.poll(_READY_SECONDS)
        return is_ready(worker)

    monkeypatch.setattr(Worker, "is_ready", waits_until_ready)
    return watched


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, watched_workers: Watched) -> Watched:
    """Have backups start workers at the first occasion."""
    monkeypatch.setattr(small_files, "WORTH_WORKERS_BYTES", 1)
    borrow = crews.Crew.borrow

    def counted(crew: crews.Crew, work: int) -> Worker | None:
        worker = borrow(crew, work)
        watched_workers.lent += worker is not None
        return worker

    monkeypatch.setattr(crews.Crew, "borrow", counted)
    return watched_workers
