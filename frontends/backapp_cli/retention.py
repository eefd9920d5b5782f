"""The --keep options, which `forget` and jobs share."""

import functools
from collections.abc import Callable
from typing import Any

import click

from backapp_cli import values
from backapp_core.model.retention import Retention

_PERIODS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_SHORT = {"last": "-l"}


def retention_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the --keep options; the command receives one ``retention``, empty if none is given."""

    @functools.wraps(function)
    def with_retention(*arguments: Any, keep_tag: tuple[str, ...], **keywords: Any) -> Any:
        rules: dict[str, Any] = {
            name: keywords.pop(f"keep_{name}") for name in (*_PERIODS, *_windows())
        }
        given = {name: value for name, value in rules.items() if value is not None}
        retention = Retention(**given, tags=values.tag_lists(keep_tag))
        return function(*arguments, retention=retention, **keywords)

    for option in reversed([*_count_options(), *_window_options(), _tag_option()]):
        with_retention = option(with_retention)
    return with_retention


def _windows() -> list[str]:
    return ["within" if period == "last" else f"within_{period}" for period in _PERIODS]


def _count_options() -> list[Callable[..., Any]]:
    return [
        click.option(
            *(*((_SHORT[period],) if period in _SHORT else ()), f"--keep-{period}"),
            type=click.IntRange(-1),
            metavar="N",
            help=f"Keep the last N {period} snapshots; -1: all.".replace("last N last", "last N"),
        )
        for period in _PERIODS
    ]


def _window_options() -> list[Callable[..., Any]]:
    return [
        click.option(
            f"--keep-{name.replace('_', '-')}",
            type=values.within,
            metavar="DURATION",
            help=f"Keep {'all' if name == 'within' else name.removeprefix('within_')} snapshots "
            "of the last 1y6m7d12h (any part of it), seen from the newest.",
        )
        for name in _windows()
    ]


def _tag_option() -> Callable[..., Any]:
    return click.option(
        "--keep-tag",
        multiple=True,
        metavar="TAG[,TAG...]",
        type=values.utf8_text,
        help="Keep snapshots with all of these tags (repeatable).",
    )


def described_rules(retention: Retention) -> list[str]:
    """Return the rules of a policy as the options that make it."""
    rules = [
        f"--keep-{period} {number}" for period in _PERIODS if (number := getattr(retention, period))
    ]
    rules += [
        f"--keep-{name.replace('_', '-')} {window}"
        for name in _windows()
        if (window := getattr(retention, name))
    ]
    return rules + [f"--keep-tag {','.join(sorted(tags))}" for tags in retention.tags]
