"""The plainest repository that keeps the contract: an object per content, another per snapshot.

For tests of whatever stands on a repository, and as a second implementation beside which the
archiver kit is honest. It is not for anybody's data: a snapshot's nodes are one JSON object, and
files are read whole into memory.

Objects: ``config`` (its hash and JSON), ``data/<sha256>``, ``snapshots/<sha256 of the record>``,
``locks/<random>``.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any

from attrs import evolve, field, frozen
from typing_extensions import override

from backapp_core.codec import from_plain, to_plain
from backapp_core.errors import (
    DamagedRepository,
    InputError,
    InvalidSettings,
    ObjectExists,
    ObjectMissing,
    RepositoryExists,
    UnknownFormat,
)
from backapp_core.events import Level, LogLine, SnapshotSaved
from backapp_core.model.entries import EntryKind, Node, is_below
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import (
    CheckReport,
    CleanUpOptions,
    CleanUpPlan,
    Finding,
    RemovalPlan,
    RepositoryInfo,
    RepositoryStats,
    Severity,
)
from backapp_core.model.snapshots import Snapshot
from backapp_core.model.subsets import DataSubset
from backapp_core.ports.archivers import ArchiverKind, BackupResult, Repository
from backapp_core.ports.scanners import Scanner
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_core.ports.targets import Everything, Selection, Target
from backapp_core.ports.transports import CanTidy, Transport
from backapp_core.testing.memory_collector import Collected, Collector
from backapp_core.testing.memory_locks import hold
from backapp_core.testing.memory_restorer import restore_nodes

_VERSION = 1
_NOTHING = hashlib.sha256(b"").hexdigest()


@frozen
class MemoryArchiverSettings:
    """Nothing can be chosen but a word that is kept."""

    motto: str = ""


@frozen
class _Config:
    id: str
    version: int
    created_at: datetime
    motto: str = ""


@frozen
class _Record:
    """What a snapshot object holds."""

    snapshot: Snapshot
    nodes: tuple[Node, ...] = field(factory=tuple[Node, ...])


class MemoryRepository(Repository):
    """Whole trees, naively; see `Repository` for what it promises."""

    takes_streams = True

    def __init__(
        self, transport: Transport, info: RepositoryInfo, surroundings: Surroundings
    ) -> None:
        self.info = info
        self._transport = transport
        self._surroundings = surroundings

    @override
    def backup(self, scanner: Scanner, options: BackupOptions) -> BackupResult:
        taken_at = scanner.began_at or self._surroundings.clock.now()
        with self._lock(is_exclusive=False):
            parent = self._parent(scanner, options)
            before = self._load(parent.id).nodes if parent else ()
            collector = Collector(
                self._transport,
                self._surroundings,
                before,
                rereads_all=options.rereads_all,
                reports_files=options.reports_files,
            )
            collected = collector.collect(scanner)
            is_same = _below(scanner.roots, before) == _below(scanner.roots, collected.nodes)
            if options.skips_unchanged and parent is not None and is_same:
                return BackupResult(parent, collected.objects, collected.counts)
            snapshot = Snapshot(
                id="",
                taken_at=taken_at,
                hostname=options.hostname,
                username=options.username,
                roots=tuple(sorted(scanner.roots)),
                tags=tuple(sorted(set(options.tags))),
                parent_id=parent.id if parent else None,
                program=options.program,
                counts=collected.counts,
            )
            snapshot, name, size_bytes = self._save(snapshot, collected)
        self._surroundings.events(SnapshotSaved(snapshot))
        return BackupResult(snapshot, (*collected.objects, (name, size_bytes)))

    @override
    def snapshots(self) -> Sequence[Snapshot]:
        found: list[Snapshot] = []
        for info in self._transport.list("snapshots/"):
            try:
                found.append(self._load(info.name.removeprefix("snapshots/")).snapshot)
            except DamagedRepository as error:
                self._surroundings.events(LogLine(Level.WARNING, error.message))
            except ObjectMissing:
                continue  # removed since it was listed
        return sorted(found, key=lambda one: (one.taken_at, one.id))

    @override
    def nodes(self, snapshot: Snapshot, selection: Selection = Everything()) -> Iterator[Node]:
        return self._nodes(snapshot, selection)

    @override
    def read(self, snapshot: Snapshot, node: Node) -> Iterator[bytes]:
        del snapshot
        data = self._content(node.sha256)
        position = 0
        for extent in node.extents if node.extents is not None else ((0, node.size_bytes),):
            yield bytes(extent[0] - position)
            yield data[extent[0] : extent[0] + extent[1]]
            position = extent[0] + extent[1]
        yield bytes(node.size_bytes - position)

    @override
    def restore(
        self, snapshot: Snapshot, target: Target, selection: Selection = Everything()
    ) -> None:
        try:
            restore_nodes(self._nodes(snapshot, selection), target, self._content)
        finally:
            target.close()

    @override
    def check(self, *, read_data: bool | DataSubset = False) -> CheckReport:
        findings: list[Finding] = []
        present = {info.name: info.size_bytes for info in self._transport.list()}
        users: dict[str, list[tuple[str, bytes]]] = {}
        for name in sorted(one for one in present if one.startswith("snapshots/")):
            snapshot_id = name.removeprefix("snapshots/")
            try:
                record = self._load(snapshot_id)
            except DamagedRepository as error:
                findings.append(Finding(Severity.ERROR, name, error.message, (snapshot_id,)))
                continue
            for node in record.nodes:
                if node.sha256 not in {"", _NOTHING}:
                    users.setdefault(node.sha256, []).append((snapshot_id, node.path))
        sizes = {bytes.fromhex(digest): present.get(f"data/{digest}", 0) for digest in users}
        subset = DataSubset.of(read_data)
        chosen = subset.choose(sizes, self._surroundings.random_bytes) if subset else ()
        read_bytes = sum(
            self._check_content(digest, places, findings)
            for digest, places in sorted(users.items())
            if bytes.fromhex(digest) in chosen or f"data/{digest}" not in present
        )
        snapshots = sum(name.startswith("snapshots/") for name in present)
        return CheckReport(snapshots, len(present), read_bytes, tuple(findings))

    @override
    def retag(self, snapshot: Snapshot, tags: Sequence[str]) -> Snapshot:
        with self._lock(is_exclusive=True):
            record = self._load(snapshot.id)
            renewed = record.snapshot.tagged(tuple(tags), new_id="")
            renewed, _, _ = self._save(renewed, Collected(record.nodes))
            if renewed.id != snapshot.id:
                self._transport.delete(f"snapshots/{snapshot.id}")
        return renewed

    @override
    def remove(self, plan: RemovalPlan) -> None:
        with self._lock(is_exclusive=True):
            for snapshot_id in plan.remove:
                self._transport.delete(f"snapshots/{snapshot_id}")

    @override
    def plan_clean_up(self, options: CleanUpOptions = CleanUpOptions()) -> CleanUpPlan:
        if options.keep_delete:
            raise InputError("this repository marks nothing; leave --keep-delete out")
        needed = {
            f"data/{node.sha256}"
            for info in self._transport.list("snapshots/")
            for node in self._load(info.name.removeprefix("snapshots/")).nodes
        }
        stored = sorted((info.name, info.size_bytes) for info in self._transport.list("data/"))
        kept = [size for name, size in stored if name in needed]
        useless = tuple(pair for pair in stored if pair[0] not in needed)
        return CleanUpPlan(useless, len(kept), sum(kept), options)

    @override
    def clean_up(self, plan: CleanUpPlan) -> CleanUpPlan:
        with self._lock(is_exclusive=True):
            now = self.plan_clean_up(plan.options)
            both = tuple(pair for pair in now.objects if pair in set(plan.objects))
            for name, _ in both:
                self._transport.delete(name)
            if isinstance(self._transport, CanTidy):
                self._transport.tidy(older_than_seconds=3600)
        return evolve(now, objects=both)

    @override
    def stats(self, snapshots: Sequence[Snapshot]) -> RepositoryStats:
        sizes = [info.size_bytes for info in self._transport.list()]
        files = [
            node.size_bytes
            for snapshot in snapshots
            for node in self._load(snapshot.id).nodes
            if node.kind is EntryKind.FILE
        ]
        everything = sum(1 for _ in self._transport.list("snapshots/"))
        return RepositoryStats(everything, len(sizes), sum(sizes), sum(files), len(files))

    @override
    def close(self) -> None:
        self._transport.close()

    # --- records

    def _save(self, snapshot: Snapshot, collected: Collected) -> tuple[Snapshot, str, int]:
        """Store a record; its id is the hash of it, in which the id itself is left empty."""
        body = json.dumps(to_plain(_Record(snapshot, collected.nodes))).encode()
        digest = hashlib.sha256(body).hexdigest()
        name = f"snapshots/{digest}"
        with suppress(ObjectExists):  # the same record; nothing could be said better
            self._transport.put(name, [body], size_bytes=len(body))
        return evolve(snapshot, id=digest), name, len(body)

    def _load(self, snapshot_id: str) -> _Record:
        name = f"snapshots/{snapshot_id}"
        body = self._transport.read(name)
        if hashlib.sha256(body).hexdigest() != snapshot_id:
            raise DamagedRepository(f"object '{name}' is not what was stored")
        record = from_plain(json.loads(body), _Record, source=name)
        return evolve(record, snapshot=evolve(record.snapshot, id=snapshot_id))

    def _content(self, digest: str) -> bytes:
        if digest == _NOTHING:
            return b""
        name = f"data/{digest}"
        try:
            data = self._transport.read(name)
        except ObjectMissing:
            raise DamagedRepository(f"object '{name}' is missing") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise DamagedRepository(f"object '{name}' is not what was stored")
        return data

    def _nodes(self, snapshot: Snapshot, selection: Selection) -> Iterator[Node]:
        try:
            record = self._load(snapshot.id)
        except ObjectMissing:
            raise DamagedRepository(f"snapshot {snapshot.short_id} is missing") from None
        closed: list[bytes] = []
        for node in record.nodes:
            self._surroundings.cancel.check()
            if any(node.path.startswith(folder) for folder in closed[-1:]):
                continue
            if selection.wants(node):
                yield node
            if node.kind is EntryKind.DIRECTORY and not selection.enters(node.path):
                closed.append(node.path.rstrip(b"/") + b"/")

    # --- the rest

    def _check_content(
        self, digest: str, places: Sequence[tuple[str, bytes]], findings: list[Finding]
    ) -> int:
        try:
            return len(self._content(digest))
        except DamagedRepository as error:
            ids, paths = (tuple(sorted(set(each))) for each in zip(*places, strict=True))
            findings.append(Finding(Severity.ERROR, f"data/{digest}", error.message, ids, paths))
            return 0

    def _parent(self, scanner: Scanner, options: BackupOptions) -> Snapshot | None:
        if options.is_full:
            return None
        candidates = [
            one
            for one in self.snapshots()
            if one.id == options.parent_id
            or (
                options.parent_id is None
                and one.hostname == options.hostname
                and one.roots == tuple(sorted(scanner.roots))
            )
        ]
        return candidates[-1] if candidates else None

    def _lock(self, *, is_exclusive: bool) -> AbstractContextManager[None]:
        return hold(self._transport, self._surroundings, is_exclusive=is_exclusive)


def _below(roots: Sequence[bytes], nodes: Sequence[Node]) -> list[Node]:
    return [
        evolve(node, device=0)
        for node in nodes
        if any(node.path == root or is_below(node.path, root) for root in roots)
    ]


def _create(
    transport: Transport,
    settings: MemoryArchiverSettings,
    keys: Keys,
    surroundings: Surroundings,
) -> Repository:
    del keys
    config = _Config(
        id=surroundings.random_bytes(16).hex(),
        version=_VERSION,
        created_at=surroundings.clock.now(),
        motto=settings.motto,
    )
    body = json.dumps(to_plain(config)).encode()
    digest = hashlib.sha256(body).hexdigest().encode()
    transport.prepare()
    try:
        transport.put("config", [digest, b"\n", body])
    except ObjectExists:
        raise RepositoryExists(f"a repository exists at {transport.address} already") from None
    return _opened(transport, config, surroundings)


def _open(transport: Transport, keys: Keys, surroundings: Surroundings) -> Repository:
    del keys
    digest, _, body = transport.read("config").partition(b"\n")
    try:
        if hashlib.sha256(body).hexdigest().encode() != digest:
            raise ValueError("its hash differs")  # noqa: TRY301  # as from the parser
        plain: Any = json.loads(body)
        config = from_plain(plain, _Config, source="config")
    except (ValueError, InvalidSettings) as error:
        raise DamagedRepository(
            f"the description of the repository at {transport.address} is damaged"
        ) from error
    if config.version != _VERSION:
        raise UnknownFormat(
            f"the repository at {transport.address} has version {config.version}, "
            f"this program knows version {_VERSION}"
        )
    return _opened(transport, config, surroundings)


def _opened(transport: Transport, config: _Config, surroundings: Surroundings) -> Repository:
    info = RepositoryInfo(
        config.id, "memory", config.version, config.created_at, is_encrypted=False
    )
    return MemoryRepository(transport, info, surroundings)


def _recognises(transport: Transport) -> bool:
    try:
        transport.stat("config")
    except ObjectMissing:
        return False
    return True


MEMORY_ARCHIVER = ArchiverKind("memory", MemoryArchiverSettings, _recognises, _create, _open)
"""The kind, to be registered by hand: ``PluginManager([("memory", "", plugin)])``."""
