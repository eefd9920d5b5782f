"""The options that say how far `prune` goes, which `forget --prune` has, too."""

import functools
from collections.abc import Callable
from typing import Any

import click

from backapp_cli import values
from backapp_core.model.repositories import CleanUpOptions
from backapp_core.model.retention import Within

_Limit = dict[str, float | int]


def clean_up_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add them; the command receives one ``options``, with restic's defaults."""

    @functools.wraps(function)
    def with_options(
        *arguments: Any,
        max_unused: _Limit,
        max_repack_size: int | None,
        repack_small: bool,
        keep_delete: Within | None,
        **keywords: Any,
    ) -> Any:
        options = CleanUpOptions(
            **max_unused,  # type: ignore[arg-type]  # made by `_limit`, which knows the fields
            max_repack_bytes=max_repack_size,
            repacks_small=repack_small,
            keep_delete=keep_delete or Within(),
        )
        return function(*arguments, options=options, **keywords)

    for option in reversed(_options()):
        with_options = option(with_options)
    return with_options


def _options() -> list[Callable[..., Any]]:
    return [
        click.option(
            "--max-unused",
            type=_limit,
            metavar="LIMIT",
            default="5%",
            show_default=True,
            help="Space that may stay unused where freeing it means copying: a percentage of "
            "what stays, a size, or 'unlimited'.",
        ),
        click.option(
            "--max-repack-size",
            type=values.size_bytes,
            metavar="SIZE",
            help="Copy at most so much.",
        ),
        click.option(
            "--repack-small", is_flag=True, help="Join packs that are smaller than usual, too."
        ),
        click.option(
            "--keep-delete",
            type=values.within,
            metavar="DURATION",
            help="Only mark what goes; what was marked so long ago (1d12h) is deleted.",
        ),
    ]


def _limit(text: str | _Limit) -> _Limit:
    """Return the field of `CleanUpOptions` that ``5%``, ``200M`` or ``unlimited`` means.

    Raises:
        click.BadParameter: If it means none.
    """
    if not isinstance(text, str):
        return text
    if text == "unlimited":
        return {"max_unused_share": 1.0}
    percent = values.percent(text.strip())
    if percent is None:
        return {"max_unused_bytes": values.size_bytes(text)}
    share = percent / 100
    if share >= 1:
        raise click.BadParameter(f"'{text}' is no part; use less than 100%, or 'unlimited'")
    return {"max_unused_share": share}
