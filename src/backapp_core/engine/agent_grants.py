"""Grants of a run that this machine holds: asked for while it does, and never afterwards."""

from collections.abc import Callable, Sequence
from typing import TypeVar, final

from backapp_core.engine.agent_lease import Lease
from backapp_core.errors import LeaseLost, RunNotFound
from backapp_core.model.grants import Granted, ObjectPage, ObjectSeen, WriteWish
from backapp_core.ports.grants import CanIssueGrants

_T = TypeVar("_T")


@final
class RunGrants:
    """Keeps `CanIssueGrants` by asking an issuer; any thread may.

    When the lease ends here, or the issuer says that the run is somebody else's, the run is given
    up as a whole and nothing more is asked for but to throw away the parts of what was not
    completed. The issuer looks by itself: a process may sleep between this look and its question.
    """

    def __init__(self, issuer: CanIssueGrants, lease: Lease) -> None:
        """Ask ``issuer``, which issues under the run that ``lease`` holds."""
        self._issuer = issuer
        self._lease = lease

    def grant_reads(self, repository_id: str, names: Sequence[str]) -> Granted:
        """See `CanIssueGrants`; raises `LeaseLost`, too."""
        return self._held(lambda: self._issuer.grant_reads(repository_id, names))

    def grant_writes(self, repository_id: str, wishes: Sequence[WriteWish]) -> Granted:
        """See `CanIssueGrants`."""
        return self._held(lambda: self._issuer.grant_writes(repository_id, wishes))

    def grant_deletes(self, repository_id: str, names: Sequence[str]) -> Granted:
        """See `CanIssueGrants`."""
        return self._held(lambda: self._issuer.grant_deletes(repository_id, names))

    def list_objects(self, repository_id: str, prefix: str, after: str = "") -> ObjectPage:
        """See `CanIssueGrants`; raises `LeaseLost`, too."""
        return self._held(lambda: self._issuer.list_objects(repository_id, prefix, after))

    def begin_upload(self, repository_id: str, name: str) -> str:
        """See `CanIssueGrants`."""
        return self._held(lambda: self._issuer.begin_upload(repository_id, name))

    def grant_parts(
        self, repository_id: str, name: str, upload: str, parts: Sequence[WriteWish], first: int
    ) -> Granted:
        """See `CanIssueGrants`."""
        return self._held(
            lambda: self._issuer.grant_parts(repository_id, name, upload, parts, first)
        )

    def complete_upload(
        self, repository_id: str, name: str, upload: str, parts: Sequence[tuple[int, str]]
    ) -> ObjectSeen:
        """See `CanIssueGrants`."""
        return self._held(lambda: self._issuer.complete_upload(repository_id, name, upload, parts))

    def abandon_upload(self, repository_id: str, name: str, upload: str) -> None:
        """See `CanIssueGrants`."""
        self._issuer.abandon_upload(repository_id, name, upload)

    def _held(self, ask: Callable[[], _T]) -> _T:
        self._lease.check()
        try:
            return ask()
        except (LeaseLost, RunNotFound):
            self._lease.lose()
            raise
