"""Names and shapes of the objects of a repository (docs/explanation/formats/targz.md).

::

    backapp.json                       what stands here; written once
    snapshots/<64 hex>.json            one snapshot, named by its SHA-256; writing it publishes
    manifests/<name>.jsonl.gz[.age]    every entry of one snapshot
    archives/<name>.tar.gz[.age]       the content that one backup added
    locks/<32 hex>.json                who is at work

A name is ``20261123T074500Z-<16 hex>-full`` or ``…-incr``, so that a person without this program
sees in which order to extract archives.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec
from attrs import fields

from backapp_core.plugin_api import (
    Counts,
    DamagedRepository,
    ObjectSort,
    RepositoryInfo,
    Snapshot,
    UnknownFormat,
    from_text,
    to_text,
)

FORMAT = "backapp-targz"
VERSION = 1
CONFIG_NAME = "backapp.json"
SNAPSHOTS = "snapshots/"
MANIFESTS = "manifests/"
ARCHIVES = "archives/"
LOCKS = "locks/"
SNAPSHOT_NAME = re.compile(r"snapshots/[0-9a-f]{64}\.json")
_MANIFEST_NAME = re.compile(r"manifests/[0-9A-Za-z][0-9A-Za-z.-]{0,127}")
_ARCHIVE_NAME = re.compile(r"archives/[0-9A-Za-z][0-9A-Za-z.-]{0,127}")
_RUN = "[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}-(?:full|incr)"
_SORTS = (
    (SNAPSHOT_NAME, ObjectSort.SNAPSHOT),
    (re.compile(rf"archives/{_RUN}\.tar\.gz(?:\.age)?"), ObjectSort.DATA),
    (re.compile(rf"manifests/{_RUN}\.jsonl\.gz(?:\.age)?"), ObjectSort.DATA),
    (re.compile(r"locks/[0-9a-f]{32}\.json"), ObjectSort.LOCK),
)
_LARGEST_RECORD_BYTES = 16 << 20
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]

_T = TypeVar("_T")


class Config(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What ``backapp.json`` says."""

    format: str
    version: int
    id: str
    created_at: _Time
    compression_level: int = 2
    increments: int = 30
    """How many increments may follow a full backup."""
    recipients: tuple[str, ...] = ()
    """age recipients that archives and manifests are sealed to; without any, they are not."""
    checksum: str = ""
    """SHA-256 of this description as compact JSON without the checksum itself."""

    @property
    def info(self) -> RepositoryInfo:
        """The part of it that every archiver has."""
        return RepositoryInfo(
            id=self.id,
            archiver="targz",
            version=self.version,
            created_at=self.created_at,
            is_encrypted=bool(self.recipients),
        )


class StoredObject(msgspec.Struct, frozen=True):
    """An object that a snapshot needs, with what proves it whole."""

    name: str
    size: _Count
    """Bytes as stored."""
    sha256: str
    """Of the bytes as stored."""


class ArchiveRef(StoredObject, frozen=True):
    """An archive under the number by which a manifest's entries refer to it."""

    number: _Count


class Record(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What ``snapshots/….json`` says."""

    taken_at: _Time
    hostname: str
    username: str
    roots: tuple[str, ...]
    manifest: StoredObject
    manifest_sha256: str
    """Of the compressed manifest before it was sealed; the local cache is recognised by it."""
    archives: tuple[ArchiveRef, ...]
    program: str
    tags: tuple[str, ...] = ()
    parent: str | None = None
    original: str | None = None
    replaces: str | None = None
    """The record that this one was written to replace; ignored once this one is there."""
    increments: int = 0
    """How many backups lie between this one and its full one."""
    full_bytes: int = 0
    """Size of the archive that the chain began with."""
    increment_bytes: int = 0
    """Size of all archives that were added to it since."""
    counts: dict[str, int] = {}


_COUNTERS = tuple(attribute.name for attribute in fields(Counts))


def counts_to_plain(counts: Counts) -> dict[str, int]:
    """Return counts as a mapping of their names."""
    return {name: getattr(counts, name) for name in _COUNTERS}


def snapshot_of(record: Record, snapshot_id: str) -> Snapshot:
    """Return the noun that a record describes."""
    return Snapshot(
        id=snapshot_id,
        taken_at=record.taken_at.astimezone(UTC),
        hostname=record.hostname,
        username=record.username,
        roots=tuple(from_text(root) for root in record.roots),
        tags=record.tags,
        parent_id=record.parent,
        original_id=record.original,
        program=record.program,
        archives=tuple(archive.name for archive in record.archives),
        counts=Counts(**{name: record.counts.get(name, 0) for name in _COUNTERS}),
    )


def roots_to_text(roots: Sequence[bytes]) -> tuple[str, ...]:
    """Return roots as they stand in a record."""
    return tuple(to_text(root) for root in roots)


def encode(value: Config | Record) -> bytes:
    """Return the bytes of an object, for people to read: indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def new_config(config: Config) -> bytes:
    """Return the bytes of a new description, with its checksum."""
    return encode(msgspec.structs.replace(config, checksum=_checksum(config)))


def decode_config(data: bytes, *, address: str) -> Config:
    """Read ``backapp.json``.

    Raises:
        UnknownFormat: If it is of another format or a newer version.
        DamagedRepository: If it is no such description.
    """
    head = _decode(data, _Head, name=CONFIG_NAME)
    if head.format != FORMAT:
        raise UnknownFormat(f"{address} holds a repository of the unknown format '{head.format}'")
    if head.version != VERSION:
        raise UnknownFormat(
            f"{address} was written in version {head.version} of the {FORMAT} format and this "
            f"program knows version {VERSION}; use the BackApp that wrote it or a newer one"
        )
    config = _decode(data, Config, name=CONFIG_NAME)
    if config.checksum != _checksum(config) or data != encode(config):
        raise DamagedRepository(
            f"{CONFIG_NAME} at {address} is damaged: its checksum differs from its content"
        )
    return config


def decode_record(data: bytes, *, name: str) -> tuple[str, Record]:
    """Read a snapshot's record and return its id and what it says.

    Raises:
        DamagedRepository: If its bytes are not those that it is named by, or make no sense.
    """
    snapshot_id = sha256(data).hexdigest()
    if name != record_name(snapshot_id):
        raise DamagedRepository(f"{name} is damaged: its content has the hash {snapshot_id[:16]}…")
    record = _decode(data, Record, name=name)
    try:
        snapshot_of(record, snapshot_id)
    except (ValueError, OverflowError) as error:
        raise DamagedRepository(f"{name} is damaged: {error}") from error
    numbers = [ref.number for ref in record.archives]
    if not _MANIFEST_NAME.fullmatch(record.manifest.name) or not all(
        _ARCHIVE_NAME.fullmatch(ref.name) for ref in record.archives
    ):
        raise DamagedRepository(f"{name} is damaged: it names what is no archive or manifest")
    if sorted(set(numbers)) != sorted(numbers):
        raise DamagedRepository(f"{name} is damaged: it numbers two archives alike")
    return snapshot_id, record


def record_name(snapshot_id: str) -> str:
    """Return the object name of a snapshot's record."""
    return f"{SNAPSHOTS}{snapshot_id}.json"


def run_name(at: datetime, noise: bytes, *, is_full: bool) -> str:
    """Return the name that a backup's archive and manifest share.

    ``noise`` keeps two of one second apart.
    """
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{noise.hex()}-{'full' if is_full else 'incr'}"


def archive_name(run: str, *, is_encrypted: bool) -> str:
    """Return the object name of a backup's archive."""
    return f"{ARCHIVES}{run}.tar.gz{'.age' if is_encrypted else ''}"


def manifest_name(run: str, *, is_encrypted: bool) -> str:
    """Return the object name of a backup's manifest."""
    return f"{MANIFESTS}{run}.jsonl.gz{'.age' if is_encrypted else ''}"


def sort_of(name: str) -> ObjectSort | None:
    """Say what an object of this name is, None for names that nothing here has."""
    if name == CONFIG_NAME:
        return ObjectSort.CONFIG
    return next((sort for shape, sort in _SORTS if shape.fullmatch(name)), None)


def _checksum(config: Config) -> str:
    return sha256(msgspec.json.encode(msgspec.structs.replace(config, checksum=""))).hexdigest()


class _Head(msgspec.Struct):
    format: str
    version: int


def _decode(data: bytes, kind: type[_T], *, name: str) -> _T:
    if len(data) > _LARGEST_RECORD_BYTES:
        raise DamagedRepository(
            f"{name} is damaged: {len(data)} bytes are more than such an object can have"
        )
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise DamagedRepository(f"{name} is damaged: {' '.join(str(error).split())}") from error
