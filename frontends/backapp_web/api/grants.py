"""What machines may do to the buckets: one route per method of `ports.grants.CanIssueGrants`."""

from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from backapp_core.errors import InputError
from backapp_core.model.grants import Granted, ObjectPage, ObjectSeen
from backapp_core.model.work import Hold
from backapp_core.ports.grants import CanIssueGrants
from backapp_core.wire import (
    MOST_WISHES,
    REPOSITORIES,
    AbandonBody,
    CompleteBody,
    DeletesBody,
    NamesBody,
    PartsBody,
    Upload,
    UploadBody,
    WritesBody,
)
from backapp_web.callers import Call, agent_of, server_of

_BELOW = f"{REPOSITORIES}/{{repository_id:str}}"
_MOST_PARTS = 10_000
"""Of one object, by the rules of S3."""


def _desk(request: Call, hold: Hold | None = None) -> CanIssueGrants:
    return server_of(request).grants_of(agent_of(request), hold)


def check_count(count: int, most: int = MOST_WISHES) -> None:
    """Refuse a request that names more than one may.

    Raises:
        InputError: If it does.
    """
    if count > most:
        raise InputError(f"one request names at most {most:,} objects or parts")


@post(f"{_BELOW}/grants/reads", status_code=200, sync_to_thread=True)
def reads(request: Call, repository_id: FromPath[str], data: JSONBody[NamesBody]) -> Granted:
    """Have the reading of objects signed."""
    check_count(len(data.names))
    return _desk(request).grant_reads(repository_id, data.names)


@post(f"{_BELOW}/grants/writes", status_code=200, sync_to_thread=True)
def writes(request: Call, repository_id: FromPath[str], data: JSONBody[WritesBody]) -> Granted:
    """Have the creation of objects signed, with exactly the bytes that are named."""
    check_count(len(data.wishes))
    return _desk(request, data.hold).grant_writes(repository_id, data.wishes)


@post(f"{_BELOW}/grants/deletes", status_code=200, sync_to_thread=True)
def deletes(request: Call, repository_id: FromPath[str], data: JSONBody[DeletesBody]) -> Granted:
    """Have the removal of the machine's own locks signed."""
    check_count(len(data.names))
    return _desk(request, data.hold).grant_deletes(repository_id, data.names)


@get(f"{_BELOW}/objects", sync_to_thread=True)
def objects(
    request: Call,
    repository_id: FromPath[str],
    *,
    prefix: FromQuery[str] = "",
    after: FromQuery[str] = "",
) -> ObjectPage:
    """Return a part of the listing of a folder of objects."""
    return _desk(request).list_objects(repository_id, prefix, after)


@post(f"{_BELOW}/uploads", status_code=200, sync_to_thread=True)
def begin(request: Call, repository_id: FromPath[str], data: JSONBody[UploadBody]) -> Upload:
    """Begin an object that is sent in parts."""
    return Upload(_desk(request, data.hold).begin_upload(repository_id, data.name))


@post(f"{_BELOW}/uploads/parts", status_code=200, sync_to_thread=True)
def parts(request: Call, repository_id: FromPath[str], data: JSONBody[PartsBody]) -> Granted:
    """Have parts of an object signed."""
    check_count(len(data.parts))
    desk = _desk(request, data.hold)
    return desk.grant_parts(repository_id, data.name, data.upload, data.parts, data.first)


@post(f"{_BELOW}/uploads/complete", status_code=200, sync_to_thread=True)
def complete(
    request: Call, repository_id: FromPath[str], data: JSONBody[CompleteBody]
) -> ObjectSeen:
    """Make one object of its parts."""
    check_count(len(data.parts), _MOST_PARTS)
    desk = _desk(request, data.hold)
    return desk.complete_upload(repository_id, data.name, data.upload, data.parts)


@post(f"{_BELOW}/uploads/abandon", status_code=204, sync_to_thread=True)
def abandon(request: Call, repository_id: FromPath[str], data: JSONBody[AbandonBody]) -> None:
    """Throw the parts of an object away."""
    _desk(request).abandon_upload(repository_id, data.name, data.upload)


def grants_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[reads, writes, deletes, objects, begin, parts, complete, abandon],
        tags=["machines themselves"],
    )
