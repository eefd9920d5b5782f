"""How commands are found and how their help looks."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, cast

import click
from typing_extensions import override

from backapp_cli.options import GlobalOption, global_options
from backapp_core.errors import BackappError, PluginMisbehaved

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_SHORT_HELP = 200
"""More than any first sentence has; a list of commands breaks its lines, it cuts nothing."""


class Command(click.Command):
    """A command whose help ends with examples, and whose global options stand apart."""

    def __init__(self, *arguments: Any, examples: str = "", **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.examples = examples

    @override
    def get_short_help_str(self, limit: int = _SHORT_HELP) -> str:
        return super().get_short_help_str(max(limit, _SHORT_HELP))

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_options(self.get_params(ctx), ctx, formatter)

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(self.examples, formatter)


class Group(click.Group):
    """A command with commands below it, each of which is loaded when it is asked for."""

    def __init__(
        self,
        *arguments: Any,
        examples: str = "",
        places: Mapping[str, str] | None = None,
        contributed: str = "",
        foreign: Mapping[str, str] | None = None,
        **keywords: Any,
    ) -> None:
        """Make a group whose commands stand at ``places``, as ``module:object`` by name.

        Further ones come from installed packages, as entry points of the group ``contributed``.
        Names that other programs have for something stand in ``foreign``, with what it is here.
        """
        super().__init__(*arguments, **keywords)
        self.examples = examples
        self._places = places or {}
        self._contributed = contributed
        self._foreign = foreign or {}

    @override
    def get_short_help_str(self, limit: int = _SHORT_HELP) -> str:
        return super().get_short_help_str(max(limit, _SHORT_HELP))

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._places, *sorted({*self.commands, *self._points()})]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._places:
            found = resolve_name(self._places[cmd_name])
            return cast("click.Command", found)
        if cmd_name not in self.commands and (point := self._points().get(cmd_name)) is not None:
            self.add_command(_command_at(point), cmd_name)
        return super().get_command(ctx, cmd_name)

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not (ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name)):
            raise click.UsageError(f"no such command '{name}'{self._instead(ctx, name)}", ctx)
        return super().resolve_command(ctx, args)

    def _instead(self, ctx: click.Context, name: str) -> str:
        if name in self._foreign:
            return f"; here it is {self._foreign[name]}"
        close = get_close_matches(name, self.list_commands(ctx), n=1)
        return f" (did you mean '{close[0]}'?)" if close else ""

    def _points(self) -> "Mapping[str, EntryPoint]":
        if not self._contributed:
            return {}
        from importlib.metadata import entry_points  # 10 ms, which other commands need not spend

        found = entry_points(group=self._contributed)
        return {point.name: point for point in found if point.name not in self._places}

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        _write_options(self.get_params(ctx), ctx, formatter)

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(self.examples, formatter)


def _command_at(point: "EntryPoint") -> click.Command:
    """Return a command of another package, with the options that every command has.

    Raises:
        PluginMisbehaved: If it cannot be loaded, or is no command.
        BackappError: If it says by itself why it cannot be.
    """
    try:
        found = point.load()
    except BackappError:
        raise
    except Exception as error:
        raise PluginMisbehaved(
            f"the command '{point.name}' ({point.value}) cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, click.Command):
        raise PluginMisbehaved(f"'{point.value}', the command '{point.name}', is no Click command")
    command: click.Command = found if isinstance(found, click.Group) else _dressed(found)
    return global_options(command)


def _dressed(plain: click.Command) -> Command:
    """Return a command whose help looks as that of ours; its examples are its epilog."""
    return Command(
        plain.name,
        callback=plain.callback,
        params=[*plain.params],
        help=plain.help,
        short_help=plain.short_help,
        examples=(plain.epilog or "").replace("\b", "").strip().removeprefix("Examples:"),
    )


def _write_options(
    params: Sequence[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    for title, is_global in (("Options", False), ("Global options", True)):
        records = [
            record
            for param in params
            if isinstance(param, GlobalOption) is is_global
            and not isinstance(param, click.Argument)  # the line of usage names them
            and (record := param.get_help_record(ctx)) is not None
        ]
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _write_examples(examples: str, formatter: click.HelpFormatter) -> None:
    lines = [line.strip() for line in examples.strip().splitlines()]
    if lines:
        with formatter.section("Examples"):
            for line in lines:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
