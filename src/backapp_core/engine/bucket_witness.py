"""Sees for the server that what a backup says it stored is there, before a receipt says so.

What the bucket pinned when it was stored needs no second look: its size is compared, nothing is
read. Where it pins no content, or lets objects be replaced, each object is read back once and
compared with the hash that is its name.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

from backapp_core.engine.buckets import Buckets, Place
from backapp_core.engine.grant import content_hash
from backapp_core.engine.grant_rules import about, hash_in, sort_of
from backapp_core.errors import ObjectMissing
from backapp_core.manager import Role
from backapp_core.model.enforcements import Enforcement
from backapp_core.model.grants import ObjectSeen
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.tenants import TenantStore

_THREADS = 8
_AT_ONCE = 64


def pins_content(enforces: Enforcement) -> bool:
    """Say whether what stands in a bucket is certain to be what was signed for.

    It is where a body with another hash was refused and what is there cannot be replaced.
    """
    return enforces.create_only and (enforces.content_md5 or enforces.sha256_checksum)


@final
class BucketWitness:
    """A `Witness` that looks into the buckets of one tenant; from any thread.

    It needs about 4 MiB of memory for each of eight threads, whatever it looks at.
    """

    def __init__(self, store: TenantStore, buckets: Buckets, archivers: Role[ArchiverKind]) -> None:
        self._store = store
        self._buckets = buckets
        self._archivers = archivers

    def __call__(self, repository: ManagedRepository, objects: Sequence[ObjectSeen]) -> None:
        """Return if every object is there with its size, and its content where that is in doubt.

        Into a folder on a machine nobody can look from here, so nothing is seen there.

        Raises:
            ObjectMissing: If one is not, or has another size or content, or is none that such a
                repository has; names the first.
            TransportUnavailable: If the bucket does not answer, or is none of this server's.
            AccessRefused: If it refuses.
        """
        if repository.is_local:
            return
        place = self._buckets.place_of(repository)
        kind = self._archivers.get(repository.archiver)
        enforces = self._buckets.enforcement_of(self._store.repositories, repository)
        reads_back = not pins_content(enforces)

        def look(one: ObjectSeen) -> None:
            _require(kind, one)
            _require_size(place, one)
            if reads_back and hash_in(one.name):
                _require_content(place, one)

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="witness") as pool:
            for some in _batches(objects):
                for future in [pool.submit(look, one) for one in some]:
                    future.result()


def _batches(objects: Sequence[ObjectSeen]) -> Iterator[Sequence[ObjectSeen]]:
    """Yield them in few, so that one that is missing is not followed by thousands of questions."""
    for start in range(0, len(objects), _AT_ONCE):
        yield objects[start : start + _AT_ONCE]


def _require(kind: ArchiverKind, one: ObjectSeen) -> None:
    if sort_of(kind, one.name) is None:
        raise ObjectMissing(about(one.name, f"is no object of a {kind.name} repository"))


def _require_size(place: Place, one: ObjectSeen) -> None:
    try:
        found = place.transport.stat(place.folder + one.name)
    except ObjectMissing as error:
        raise ObjectMissing(about(one.name, "is not in the bucket")) from error
    if found.size_bytes != one.size_bytes:
        reason = f"has {found.size_bytes} bytes in the bucket and not {one.size_bytes}"
        raise ObjectMissing(about(one.name, reason))


def _require_content(place: Place, one: ObjectSeen) -> None:
    if content_hash(place, one.name) != hash_in(one.name):
        reason = "has another content in the bucket than its name says"
        raise ObjectMissing(about(one.name, reason))
