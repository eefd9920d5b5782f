"""Grants of one repository: asked for together, kept while they are good, asked for ahead of need.

How long a grant is good for is what lies between the two times that the issuer named, counted from
the moment at which it was asked. So this machine's clock on the wall has no say in it.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from attrs import frozen

from backapp_core.plugin_api import (
    AccessError,
    AccessRefused,
    Granted,
    LeaseLost,
    ObjectPage,
    ObjectSeen,
    RepositoryNotFound,
    RunNotFound,
    SignedRequest,
    StoreUnavailable,
    Surroundings,
    TransportUnavailable,
    WriteWish,
)
from backapp_core.server_api import CanIssueGrants
from backapp_plugins.transports.presigned.gathering import Gathering
from backapp_plugins.transports.presigned.patience import Patience

_T = TypeVar("_T")
_MOST_AT_ONCE = 200
_MOST_AHEAD = 50
_MOST_KEPT = 5_000
_MOST_REMEMBERED = 20_000
_SPARE_SHARE = 0.2
_MOST_SPARE_SECONDS = 20.0


@frozen
class Grant:
    """What may be sent, and until when."""

    request: SignedRequest
    asked_at_seconds: float
    """On the monotonic clock."""
    lifetime_seconds: float

    def is_good(self, now_seconds: float) -> bool:
        """Say whether there is time enough to begin something with it."""
        spare = min(_MOST_SPARE_SECONDS, self.lifetime_seconds * _SPARE_SHARE)
        return now_seconds - self.asked_at_seconds < self.lifetime_seconds - spare

    def may_be_over(self, now_seconds: float) -> bool:
        """Say whether a refusal may be for its age; destinations know whole seconds."""
        return now_seconds - self.asked_at_seconds >= self.lifetime_seconds - 1


class Grants:
    """Asks one issuer about one repository; may be used from any thread.

    Every method raises `AccessRefused` for what the issuer refuses, and `TransportUnavailable` if
    it does not answer in the end.
    """

    def __init__(
        self, issuer: CanIssueGrants, repository_id: str, surroundings: Surroundings
    ) -> None:
        self._issuer = issuer
        self._id = repository_id
        self._clock = surroundings.clock
        self._patience = Patience(surroundings)
        self._mutex = threading.Lock()
        self._kept: dict[str, Grant] = {}
        self._following: dict[str, str] = {}
        self._reads = Gathering(self._ask_reads, most=_MOST_AT_ONCE)
        self._writes = Gathering(self._ask_writes, most=_MOST_AT_ONCE)
        self._deletes = Gathering(self._ask_deletes, most=_MOST_AT_ONCE)

    # --- single objects

    def read(self, name: str, *, anew: bool = False) -> Grant:
        """Return a grant to read an object; one that is kept unless ``anew`` is asked for."""
        with self._mutex:
            kept = self._kept.get(name)
        if kept is not None and not anew and kept.is_good(self._clock.monotonic_seconds()):
            return kept
        return _translated(lambda: self._reads.get(name))

    def write(self, wish: WriteWish) -> Grant:
        """Return a grant to create an object."""
        return _translated(lambda: self._writes.get(wish))

    def delete(self, name: str) -> Grant:
        """Return a grant to delete a lock."""
        return _translated(lambda: self._deletes.get(name))

    # --- listing

    def page(self, prefix: str, after: str) -> ObjectPage:
        """Return a part of the listing; its names are likely to be read soon, in this order."""
        page = self._asked(lambda: self._issuer.list_objects(self._id, prefix, after))
        names = [seen.name for seen in page.objects]
        with self._mutex:
            if len(self._following) > _MOST_REMEMBERED:
                self._following.clear()
            self._following.update(itertools.pairwise(names))
        return page

    # --- objects in parts

    def begin(self, name: str) -> str:
        """Begin an object in parts."""
        return self._asked(lambda: self._issuer.begin_upload(self._id, name))

    def part(self, name: str, upload: str, part: WriteWish, number: int) -> Grant:
        """Return a grant to send one part."""
        return self._asked(
            lambda: self._timed(
                lambda: self._issuer.grant_parts(self._id, name, upload, [part], number), "PUT", 1
            )[0]
        )

    def complete(self, name: str, upload: str, parts: Sequence[tuple[int, str]]) -> ObjectSeen:
        """Make one object of the parts."""
        return self._asked(lambda: self._issuer.complete_upload(self._id, name, upload, parts))

    def abandon(self, name: str, upload: str) -> None:
        """Throw the parts away."""
        self._asked(lambda: self._issuer.abandon_upload(self._id, name, upload))

    # --- within

    def _asked(self, act: Callable[[], _T]) -> _T:
        return _translated(lambda: self._patience.ask(act))

    def _timed(self, ask: Callable[[], Granted], method: str, count: int) -> Sequence[Grant]:
        asked_at = self._clock.monotonic_seconds()
        granted = ask()
        if [request.method for request in granted.requests] != [method] * count:
            raise TransportUnavailable(
                f"the server was asked to sign {count} times {method} and signed something else"
            )
        return [
            Grant(request, asked_at, (request.expires_at - granted.issued_at).total_seconds())
            for request in granted.requests
        ]

    def _ask_writes(self, wishes: Sequence[WriteWish]) -> Sequence[Grant]:
        return self._patience.ask(
            lambda: self._timed(
                lambda: self._issuer.grant_writes(self._id, wishes), "PUT", len(wishes)
            )
        )

    def _ask_deletes(self, names: Sequence[str]) -> Sequence[Grant]:
        return self._patience.ask(
            lambda: self._timed(
                lambda: self._issuer.grant_deletes(self._id, names), "DELETE", len(names)
            )
        )

    def _ask_reads(self, names: Sequence[str]) -> Sequence[Grant]:
        wanted = [*dict.fromkeys([*names, *self._ahead_of(names)])]
        grants = self._patience.ask(
            lambda: self._timed(
                lambda: self._issuer.grant_reads(self._id, wanted), "GET", len(wanted)
            )
        )
        found = dict(zip(wanted, grants, strict=True))
        with self._mutex:
            if len(self._kept) > _MOST_KEPT:
                self._kept.clear()
            self._kept.update(found)
        return [found[name] for name in names]

    def _ahead_of(self, names: Iterable[str]) -> Sequence[str]:
        """Return what a listing showed after these and nobody has a grant for."""
        now = self._clock.monotonic_seconds()
        ahead: list[str] = []
        with self._mutex:
            for name in names:
                following = self._following.get(name)
                while following is not None and len(ahead) < _MOST_AHEAD:
                    kept = self._kept.get(following)
                    if kept is not None and kept.is_good(now):
                        break
                    ahead.append(following)
                    following = self._following.get(following)
        return ahead


def _translated(act: Callable[[], _T]) -> _T:
    """Call ``act``; what the issuer says becomes what a transport says.

    Raises:
        AccessRefused: If it refuses, or the run that it is for is held no longer.
        TransportUnavailable: If it does not answer.
    """
    try:
        return act()
    except (AccessError, LeaseLost, RepositoryNotFound, RunNotFound) as error:
        raise AccessRefused(error.message) from error
    except StoreUnavailable as error:
        raise TransportUnavailable(error.message) from error
