"""Options that say which snapshots are meant, and completion of their ids."""

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from backapp_cli import values
from backapp_cli.session import Session
from backapp_cli.show import local_time
from backapp_core.errors import BackappError
from backapp_core.model.names import to_line
from backapp_core.model.snapshots import SnapshotFilter

_F = TypeVar("_F", bound=Callable[..., Any])


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --host, --tag and --path; the command receives them as one ``snapshot_filter``."""

    @functools.wraps(function)
    def with_filter(
        *arguments: Any,
        host: tuple[str, ...],
        tag: tuple[str, ...],
        path: tuple[bytes, ...],
        **keywords: Any,
    ) -> Any:
        snapshot_filter = SnapshotFilter(
            hostnames=frozenset(host),
            tag_lists=values.tag_lists(tag),
            roots=frozenset(os.path.abspath(one) for one in path),  # noqa: PTH100  # bytes
        )
        return function(*arguments, snapshot_filter=snapshot_filter, **keywords)

    for option in (
        click.option(
            "--path",
            multiple=True,
            metavar="PATH",
            type=values.path_bytes,
            help="Only snapshots that include this path (repeatable: all of them).",
        ),
        click.option(
            "--tag",
            multiple=True,
            metavar="TAG[,TAG...]",
            type=values.utf8_text,
            help="Only snapshots with all of these tags (repeatable: any of the lists).",
        ),
        click.option(
            "-H",
            "--host",
            multiple=True,
            metavar="HOST",
            type=values.utf8_text,
            help="Only snapshots of this host (repeatable).",
        ),
    ):
        with_filter = option(with_filter)
    return with_filter


def complete_snapshot(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Return the snapshots whose short id begins so; none if looking them up would ask or fail."""
    from click.shell_completion import CompletionItem

    del param
    if incomplete.startswith("-"):
        return []
    session = ctx.ensure_object(Session)
    try:
        with session.repository(may_ask=False) as repository:
            known = list(repository.snapshots())
    except BackappError:
        # The shell shows whatever is written in the middle of the line being typed.
        known = []
    items = [
        CompletionItem(one.short_id, help=f"{local_time(one.taken_at)} {to_line(one.hostname)}")
        for one in reversed(known)
    ]
    if known:
        items.insert(0, CompletionItem("latest", help="the newest"))
    return [item for item in items if str(item.value).startswith(incomplete)]


def snapshot_argument(*, is_repeated: bool = False, is_required: bool = True) -> Callable[[_F], _F]:
    """Add the argument that names a snapshot, or several."""
    name = "snapshots" if is_repeated else "snapshot"
    return click.argument(
        name,
        metavar="SNAPSHOT" if is_required else "[SNAPSHOT]...",
        nargs=-1 if is_repeated else 1,
        required=is_required,
        shell_complete=complete_snapshot,
    )
