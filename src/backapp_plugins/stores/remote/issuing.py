"""Grants that a server hands out, as HTTP requests."""

from collections.abc import Sequence
from types import NoneType

from backapp_core import wire
from backapp_core.plugin_api import Granted, GrantRefused, ObjectPage, ObjectSeen, WriteWish
from backapp_core.server_api import Hold
from backapp_plugins.stores.remote.conversation import Conversation
from backapp_plugins.stores.remote.servers import is_id

_COMPLETE_SECONDS = 900.0
"""A server may have to read the whole object back."""


class RemoteGrants:
    """Keeps `CanIssueGrants` by asking the server; from any thread, many at once.

    What is granted may be asked for again: a grant that nobody uses expires.
    """

    def __init__(self, conversation: Conversation, hold: Hold | None) -> None:
        """Ask through ``conversation``, under the run that is held, or outside of any."""
        self._conversation = conversation
        self._hold = hold

    def grant_reads(self, repository_id: str, names: Sequence[str]) -> Granted:
        """Return one grant to read each object, whole or in parts, whether or not it is there."""
        return self._granted(repository_id, "grants/reads", wire.NamesBody(tuple(names)))

    def grant_writes(self, repository_id: str, wishes: Sequence[WriteWish]) -> Granted:
        """Return one grant to create each object with exactly the bytes that were named."""
        body = wire.WritesBody(tuple(wishes), self._hold)
        return self._granted(repository_id, "grants/writes", body)

    def grant_deletes(self, repository_id: str, names: Sequence[str]) -> Granted:
        """Return one grant to delete each lock; others than one's own are refused."""
        body = wire.DeletesBody(tuple(names), self._hold)
        return self._granted(repository_id, "grants/deletes", body)

    def list_objects(self, repository_id: str, prefix: str, after: str = "") -> ObjectPage:
        """Return a part of the listing of a folder of objects, in the order of names."""
        return self._conversation.ask(
            "GET",
            _below(repository_id, "objects"),
            ObjectPage,
            query={"prefix": prefix, "after": after},
        )

    def begin_upload(self, repository_id: str, name: str) -> str:
        """Begin an object that is sent in parts, and return what the parts refer to."""
        body = wire.UploadBody(name, self._hold)
        path = _below(repository_id, "uploads")
        return self._conversation.ask("POST", path, wire.Upload, body=body).upload

    def grant_parts(
        self, repository_id: str, name: str, upload: str, parts: Sequence[WriteWish], first: int
    ) -> Granted:
        """Return one grant for each part; they are numbered from ``first``, at least 1."""
        body = wire.PartsBody(name, upload, tuple(parts), first, self._hold)
        return self._granted(repository_id, "uploads/parts", body)

    def complete_upload(
        self, repository_id: str, name: str, upload: str, parts: Sequence[tuple[int, str]]
    ) -> ObjectSeen:
        """Make one object of the parts (number and ETag of each) unless one has that name."""
        # Not repeated: after an answer that was lost, the object would be in its own way.
        return self._conversation.ask(
            "POST",
            _below(repository_id, "uploads/complete"),
            ObjectSeen,
            body=wire.CompleteBody(name, upload, tuple(parts), self._hold),
            is_repeatable=False,
            patience_seconds=_COMPLETE_SECONDS,
        )

    def abandon_upload(self, repository_id: str, name: str, upload: str) -> None:
        """Throw the parts away; doing so again is fine, and so is doing it after all is lost."""
        body = wire.AbandonBody(name, upload)
        path = _below(repository_id, "uploads/abandon")
        self._conversation.ask("POST", path, NoneType, body=body)

    def _granted(self, repository_id: str, what: str, body: object) -> Granted:
        return self._conversation.ask("POST", _below(repository_id, what), Granted, body=body)


def _below(repository_id: str, what: str) -> str:
    if not is_id(repository_id):
        raise GrantRefused("the id of a managed repository is 32 hex digits")
    return f"{wire.REPOSITORIES}/{repository_id}/{what}"
