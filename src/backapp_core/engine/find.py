"""Looks for nodes by name or path in many snapshots."""

import re
from collections.abc import Iterator

from attrs import frozen

from backapp_core.engine import watch
from backapp_core.engine.browse import choose
from backapp_core.engine.pattern_syntax import check_pattern, without_classes
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
        InvalidPattern: If one is malformed; says which.
        SnapshotNotFound: If a named snapshot does not exist.
        AmbiguousSnapshot: If a name means several.
    """
    if not request.patterns:
        raise InputError("no pattern was given; name at least one, such as '*.conf'")
    for one in request.patterns:
        check_pattern(one, is_exclude=False, purpose="pattern")
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
    names: list[re.Pattern[str]],
    paths: list[re.Pattern[str]],
) -> Iterator[Match]:
    for snapshot in chosen:
        for node in repository.nodes(snapshot):
            surroundings.cancel.check()
            path = node.path.decode("utf-8", "surrogateescape")
            name = path.rpartition("/")[2]
            if any(one.fullmatch(name) for one in names) or any(
                one.fullmatch(path) for one in paths
            ):
                yield Match(snapshot, node)


def _path_glob(pattern: str, flags: int) -> re.Pattern[str]:
    return _glob(pattern if pattern.startswith("/") else f"**/{pattern}", flags)


def _glob(pattern: str, flags: int) -> re.Pattern[str]:
    """Translate a well-formed glob; ``*`` and ``?`` stay within a name, ``**`` crosses folders."""
    out: list[str] = []
    rest = without_classes(pattern)
    while rest:
        token, rest = _next_token(rest)
        out.append(token)
    # DOTALL: a name may hold any character but the slash.
    return re.compile("".join(out), flags | re.DOTALL)


def _next_token(rest: str) -> tuple[str, str]:
    for glob, expression in _WILD.items():
        if rest.startswith(glob):
            return expression, rest[len(glob) :]
    if rest[0] == "\\" and len(rest) > 1:
        return re.escape(rest[1]), rest[2:]
    if match := _CLASS.match(rest):
        negation = "^/" if match[1] else ""
        return f"[{negation}{_MEMBER.sub(_member, match[2])}]", rest[match.end() :]
    return re.escape(rest[0]), rest[1:]


def _member(match: re.Match[str]) -> str:
    return "-" if match[0] == "-" else re.escape(match[0][-1])


_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_CLASS = re.compile(r"\[([!^]?)(\]?(?:\\.|[^]\\])*)\]", re.DOTALL)
_MEMBER = re.compile(r"\\.|.", re.DOTALL)
