"""Looks for nodes by name or path in many snapshots."""

import re
from collections.abc import Iterator

from attrs import frozen

from backapp_core.engine import watch
from backapp_core.engine.browse import choose
from backapp_core.errors import InputError
from backapp_core.model.entries import Node
from backapp_core.model.requests import FindRequest
from backapp_core.model.snapshots import Snapshot
from backapp_core.ports.archivers import Repository
from backapp_core.ports.surroundings import Surroundings


@frozen
class Match:
    """A node that was looked for, and the snapshot it is in."""

    snapshot: Snapshot
    node: Node


def find(
    surroundings: Surroundings, repository: Repository, request: FindRequest
) -> Iterator[Match]:
    """Return what matches, the newest snapshot first; walks as it is asked.

    Raises:
        InputError: If there is no pattern.
        SnapshotNotFound: If a named snapshot does not exist.
        AmbiguousSnapshot: If a name means several.
    """
    if not request.patterns:
        raise InputError("no pattern was given; name at least one, such as '*.conf'")
    flags = re.IGNORECASE if request.ignores_case else 0
    names = [_glob(one, flags) for one in request.patterns if "/" not in one]
    paths = [_path_glob(one, flags) for one in request.patterns if "/" in one]
    everything = repository.snapshots()
    watch.compare(surroundings, repository, everything)
    meant = {choose(everything, name).id for name in request.snapshots}
    chosen = [
        one
        for one in everything
        if (one.id in meant if meant else request.snapshot_filter.matches(one))
    ]
    chosen.sort(key=lambda one: (one.taken_at, one.id), reverse=True)
    return _walk(surroundings, repository, chosen, names, paths)


def _walk(
    surroundings: Surroundings,
    repository: Repository,
    chosen: list[Snapshot],
    names: list[re.Pattern[bytes]],
    paths: list[re.Pattern[bytes]],
) -> Iterator[Match]:
    for snapshot in chosen:
        for node in repository.nodes(snapshot):
            surroundings.cancel.check()
            name = node.name
            if any(one.fullmatch(name) for one in names) or any(
                one.fullmatch(node.path) for one in paths
            ):
                yield Match(snapshot, node)


def _path_glob(pattern: str, flags: int) -> re.Pattern[bytes]:
    return _glob(pattern if pattern.startswith("/") else f"**/{pattern}", flags)


def _glob(pattern: str, flags: int) -> re.Pattern[bytes]:
    """Translate a glob; ``*`` and ``?`` stay within a name, ``**`` crosses folders."""
    out: list[bytes] = []
    rest = pattern.encode("utf-8", "surrogateescape")
    while rest:
        token, rest = _next_token(rest)
        out.append(token)
    # DOTALL: a name may hold any byte but the slash.
    return re.compile(b"".join(out), flags | re.DOTALL)


def _next_token(rest: bytes) -> tuple[bytes, bytes]:
    for glob, expression in _WILD.items():
        if rest.startswith(glob):
            return expression, rest[len(glob) :]
    if rest[:1] == b"\\" and len(rest) > 1:
        return re.escape(rest[1:2]), rest[2:]
    if rest[:1] == b"[" and (match := _CLASS.match(rest)):
        negation = b"^/" if match[1] else b""
        body = match[2].replace(b"\\", rb"\\").replace(b"[", rb"\[")
        body = body.replace(b"&", rb"\&").replace(b"~", rb"\~").replace(b"|", rb"\|")
        return b"[" + negation + body + b"]", rest[match.end() :]
    return re.escape(rest[:1]), rest[1:]


_WILD = {b"**/": b"(?:.*/)?", b"**": b".*", b"*": b"[^/]*", b"?": b"[^/]"}
_CLASS = re.compile(rb"\[([!^]?)(\]?[^\]/]*)\]")
