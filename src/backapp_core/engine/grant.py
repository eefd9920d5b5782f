"""Decides what one agent may do to the buckets, object by object, and has it signed.

An agent has no credentials and names objects, nothing else. Each name is looked up in the format of
the repository, which knows what may stand there; whatever it does not know is refused, so nothing
is signed for a key outside of the repository's own folder. What changes something is signed only
for who holds the run that it is for at that moment, as the store has it.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import final

from attrs import frozen

from backapp_core.engine import grant_rules as rules
from backapp_core.engine.buckets import Buckets, Place
from backapp_core.engine.grant_rules import NamedObject
from backapp_core.engine.grant_terms import Term, term_of
from backapp_core.errors import GrantRefused, RepositoryNotFound
from backapp_core.manager import Role
from backapp_core.model.grants import (
    Granted,
    ObjectPage,
    ObjectSeen,
    ObjectSort,
    SignedRequest,
    WriteWish,
)
from backapp_core.model.managed_repositories import ManagedRepository
from backapp_core.model.work import Hold
from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.buckets import CanListInOrder, CanPresignParts
from backapp_core.ports.tenants import TenantStore
from backapp_core.ports.transports import LONGEST_LIFETIME_SECONDS, ObjectInfo

LIFETIME_SECONDS = 300
"""How long what is signed is good for, if nobody says otherwise."""

_PAGE_OBJECTS = 1000


@frozen
class _Opened:
    """A repository of the agent's, as its objects are reached."""

    repository: ManagedRepository
    kind: ArchiverKind
    place: Place

    def key(self, one: NamedObject) -> str:
        """Return the name that an object has in the bucket."""
        return self.place.folder + one.name

    def content(self, name: str) -> NamedObject:
        """Return an object that may be sent in parts.

        Raises:
            GrantRefused: If it may not.
        """
        one = rules.named(self.kind, name)
        rules.check_content(one)
        return one

    @property
    def parts(self) -> CanPresignParts:
        """What takes objects in parts.

        Raises:
            GrantRefused: If the bucket does not.
        """
        transport = self.place.transport
        if not isinstance(transport, CanPresignParts):
            raise GrantRefused(f"{transport.address} takes no objects in parts from others")
        return transport


@final
class Desk:
    """Signs for one agent, as `CanIssueGrants` says; from any thread.

    Every method raises `GrantRefused` for what may not be had, and the whole request with it;
    `RepositoryNotFound` for a repository that is none of this agent's in a bucket; and a
    `TransportError` when the bucket cannot be had. What changes something, but for
    `abandon_upload`, raises `LeaseLost` if the run is not held, and `RunNotFound` if it is none of
    the agent's. Whether the agent is one, and not revoked, is its caller's business, at every call.
    """

    def __init__(
        self,
        store: TenantStore,
        agent_id: str,
        buckets: Buckets,
        archivers: Role[ArchiverKind],
        *,
        hold: Hold | None,
        lifetime_seconds: int = LIFETIME_SECONDS,
    ) -> None:
        """Sign what is asked for by the agent, for ``lifetime_seconds``, at least 1.

        Longer than `LONGEST_LIFETIME_SECONDS` nothing is signed, whatever is said, and changes for
        no longer than the run is held that ``hold`` names; None is outside of any run.
        """
        self._hold = hold
        self._store = store
        self._agent_id = agent_id
        self._buckets = buckets
        self._archivers = archivers
        self._seconds = min(lifetime_seconds, LONGEST_LIFETIME_SECONDS)

    # --- single objects

    def grant_reads(self, repository_id: str, names: Sequence[str]) -> Granted:
        """Sign reading whatever such a repository may hold."""
        rules.check_count(len(names))
        opened = self._open(repository_id)
        others = self._archivers.kinds
        objects = [rules.readable(opened.kind, name, others) for name in names]
        sign = opened.place.signer.sign_get
        return self._granted(
            sign(opened.key(one), lifetime_seconds=self._seconds) for one in objects
        )

    def grant_writes(self, repository_id: str, wishes: Sequence[WriteWish]) -> Granted:
        """Sign the creation of objects.

        A config and one key are let through once, and recorded; locks are recorded, too.

        Raises:
            LeaseLost: Also if the run is not held for a second more and one is a snapshot.
        """
        rules.check_count(len(wishes))
        opened = self._open(repository_id)
        objects = [rules.named(opened.kind, wish.name) for wish in wishes]
        for one, wish in zip(objects, wishes, strict=True):
            rules.check_wish(one, wish)
        term = self._term(opened, objects)
        for one, wish in zip(objects, wishes, strict=True):
            self._take_init_grant(opened, one, wish)
        locks = [one.name for one in objects if one.sort is ObjectSort.LOCK]
        if locks:
            self._store.repositories.add_locks(repository_id, locks)
        sign = opened.place.signer.sign_put
        return self._granted(
            sign(
                opened.key(one),
                size_bytes=wish.size_bytes,
                sha256=bytes.fromhex(wish.sha256),
                md5=bytes.fromhex(wish.md5),
                lifetime_seconds=term.seconds_for(one.sort),
            )
            for one, wish in zip(objects, wishes, strict=True)
        )

    def grant_deletes(self, repository_id: str, names: Sequence[str]) -> Granted:
        """Sign the removal of locks that were signed for this agent.

        Raises:
            GrantRefused: If one is something else.
        """
        rules.check_count(len(names))
        opened = self._open(repository_id)
        objects = [rules.named(opened.kind, name) for name in names]
        for one in objects:
            is_own = one.sort is ObjectSort.LOCK and self._store.repositories.owns_locks(
                repository_id, [one.name]
            )
            if not is_own:
                reason = "is no lock that this machine wrote, so it stays"
                raise GrantRefused(rules.about(one.name, reason))
        term = self._term(opened, objects)
        sign = opened.place.signer.sign_delete
        return self._granted(
            sign(opened.key(one), lifetime_seconds=term.seconds_for(one.sort)) for one in objects
        )

    def list_objects(self, repository_id: str, prefix: str, after: str = "") -> ObjectPage:
        """List what a repository of that kind may hold, and nothing else that stands there.

        Raises:
            GrantRefused: If ``prefix`` is no folder, or the bucket cannot be listed.
        """
        opened = self._open(repository_id)
        rules.check_listing(prefix, after)
        transport, folder = opened.place.transport, opened.place.folder
        if not isinstance(transport, CanListInOrder):
            raise GrantRefused(f"{transport.address} cannot be listed page by page")
        page = transport.list_after(
            folder + prefix, folder + after if after else "", most=_PAGE_OBJECTS
        )
        seen = [_seen(info, info.name[len(folder) :]) for info in page.objects]
        return ObjectPage(
            tuple(one for one in seen if rules.sort_of(opened.kind, one.name) is not None),
            page.next_after[len(folder) :],
        )

    # --- objects in parts

    def begin_upload(self, repository_id: str, name: str) -> str:
        """Begin an object in parts, which only those that hold content may be."""
        opened = self._open(repository_id)
        one = opened.content(name)
        self._term(opened, [one])
        return opened.parts.begin_upload(opened.key(one))

    def grant_parts(
        self, repository_id: str, name: str, upload: str, parts: Sequence[WriteWish], first: int
    ) -> Granted:
        """Sign the sending of parts.

        Raises:
            GrantRefused: If one is a part of something else.
        """
        rules.check_count(len(parts))
        opened = self._open(repository_id)
        one = opened.content(name)
        rules.check_upload(name, upload)
        rules.check_numbers(name, first, len(parts))
        if any(part.name != name for part in parts):
            raise GrantRefused(rules.about(name, "was asked for with a part of another object"))
        term = self._term(opened, [one])
        key, sign = opened.key(one), opened.parts.sign_part
        return self._granted(
            sign(
                key,
                upload,
                number,
                size_bytes=part.size_bytes,
                sha256=bytes.fromhex(part.sha256),
                md5=bytes.fromhex(part.md5),
                lifetime_seconds=term.seconds_for(one.sort),
            )
            for number, part in enumerate(parts, first)
        )

    def complete_upload(
        self, repository_id: str, name: str, upload: str, parts: Sequence[tuple[int, str]]
    ) -> ObjectSeen:
        """Make one object of the parts, unless one has that name.

        What is named by its hash is read back, since nothing else pins the whole; something else
        is deleted again.

        Raises:
            GrantRefused: If the parts make something else, or are not in order.
        """
        opened = self._open(repository_id)
        one = opened.content(name)
        key = opened.key(one)
        rules.check_upload(name, upload)
        rules.check_numbers(name, 1, len(parts))
        if [number for number, _ in parts] != [*range(1, len(parts) + 1)]:
            raise GrantRefused(rules.about(name, "is made of all of its parts, in order"))
        self._term(opened, [one])
        opened.parts.complete_upload(key, upload, parts)
        transport = opened.place.transport
        pinned = rules.hash_in(name)
        if pinned and content_hash(opened.place, name) != pinned:
            transport.delete(key)
            reason = "has another content than its name says, and was not kept"
            raise GrantRefused(rules.about(name, reason))
        return _seen(transport.stat(key), name)

    def abandon_upload(self, repository_id: str, name: str, upload: str) -> None:
        """Throw the parts of an upload away; doing so again is fine."""
        opened = self._open(repository_id)
        key = opened.key(opened.content(name))
        rules.check_upload(name, upload)
        opened.parts.abandon_upload(key, upload)

    # --- within

    def _open(self, repository_id: str) -> _Opened:
        """Return a repository of this agent's.

        Raises:
            RepositoryNotFound: If it has none of this id in a bucket.
        """
        try:
            repository = self._store.repositories.get(repository_id)
        except RepositoryNotFound:
            repository = None
        # The store knows names, too; others' repositories are none, in the same words.
        if (
            repository is None
            or repository.id != repository_id
            or repository.agent_id != self._agent_id
            or repository.is_local
            or repository.removed_at is not None
        ):
            raise RepositoryNotFound(
                f"this machine has no repository '{rules.shown(repository_id)}' in a bucket"
            )
        kind = self._archivers.get(repository.archiver)
        return _Opened(repository, kind, self._buckets.place_of(repository))

    def _term(self, opened: _Opened, objects: Sequence[NamedObject]) -> Term:
        """Return how long changes may be good for; see `term_of` for what it raises."""
        return term_of(
            self._hold,
            objects,
            repository_id=opened.repository.id,
            holding=lambda hold: self._store.runs.holding(self._agent_id, hold),
            clock=self._buckets.clock,
            most_seconds=self._seconds,
        )

    def _take_init_grant(self, opened: _Opened, one: NamedObject, wish: WriteWish) -> None:
        if one.sort not in {ObjectSort.CONFIG, ObjectSort.KEY}:
            return
        # The sort and not the name is what there may be one of: two keys have different names.
        what = one.sort.value
        if not self._store.repositories.take_init_grant(opened.repository.id, what, wish.sha256):
            reason = (
                f"would be another {what} than the first, and a machine may write one, once; if "
                "its repository was never completed, make another one for it"
            )
            raise GrantRefused(rules.about(one.name, reason))

    def _granted(self, requests: Iterable[SignedRequest]) -> Granted:
        issued_at = self._buckets.clock.now()  # before anything is signed
        return Granted(tuple(requests), issued_at)


def content_hash(place: Place, name: str) -> str:
    """Read an object of a repository back and return its SHA-256, 64 hex digits.

    Raises:
        ObjectMissing: If it is not there.
    """
    digest = sha256()
    for chunk in place.transport.get(place.folder + name):
        digest.update(chunk)
    return digest.hexdigest()


def _seen(info: ObjectInfo, name: str) -> ObjectSeen:
    return ObjectSeen(name, info.size_bytes, info.modified_at)
