"""Checks the kinds that plugins offer, and names the plugin when what they open misbehaves."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from attrs import evolve, has

from backapp_core.errors import BackappError, PluginMisbehaved
from backapp_core.ports.archivers import ArchiverKind, Repository
from backapp_core.ports.notifiers import Notifier, NotifierKind
from backapp_core.ports.scanners import Scanner, ScannerKind
from backapp_core.ports.schedulers import Scheduler, SchedulerKind
from backapp_core.ports.store_kinds import StoreKind
from backapp_core.ports.stores import Store
from backapp_core.ports.transports import Transport, TransportKind

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_PLACEHOLDERS = frozenset({"", "*"})
"""What a transport may claim besides schemes: plain paths, and whatever nobody else claims."""


def _fleet() -> type[Any]:
    from backapp_core.ports.fleet import Fleet  # noqa: PLC0415  # only servers need it

    return Fleet


def _work() -> type[Any]:
    from backapp_core.ports.work import Work  # noqa: PLC0415  # only agents need it

    return Work


def _enrolled() -> type[Any]:
    from backapp_core.wire import Enrolled  # noqa: PLC0415  # only agents need it

    return Enrolled


_ANSWERS: Mapping[type[Any], Mapping[str, type[Any] | Callable[[], type[Any]] | None]] = {
    ScannerKind: {"open": Scanner},
    ArchiverKind: {
        "recognises": bool,
        "create": Repository,
        "open": Repository,
        "lacks": str,
    },
    TransportKind: {"parse": None, "open": Transport},
    SchedulerKind: {"parse": Scheduler},
    NotifierKind: {"open": Notifier},
    StoreKind: {"open": Store, "open_fleet": _fleet, "open_work": _work, "enrol": _enrolled},
}
"""What each function of a kind returns, or what says so when it is called.

None stands for an instance of the kind's settings.
"""


class Named(Protocol):
    """Any kind."""

    @property
    def name(self) -> str:
        """What it is asked for by."""
        ...


_Kind = TypeVar("_Kind", bound=Named)


def vetted(kind: _Kind, kind_type: type[_Kind], *, role: str, plugin: str) -> _Kind:
    """Return ``kind`` with functions that only raise and return what their contract says.

    What is no `BackappError` becomes `PluginMisbehaved`, which names the plugin; so does an answer
    of another type.

    Raises:
        PluginMisbehaved: If a field of the kind is not what it must be.
    """
    fault = _fault_in(kind, kind_type)
    if fault:
        raise PluginMisbehaved(f"plugin '{plugin}' offers a {role} {fault}")
    functions = {
        name: _guarded(
            getattr(kind, name),
            answer or cast("Any", kind).settings,
            f"plugin '{plugin}'",
            f"'{name}' of its {role} '{kind.name}'",
        )
        for name, answer in _ANSWERS[kind_type].items()
    }
    return cast("_Kind", evolve(cast("Any", kind), **functions))


def one_line(error: BaseException) -> str:
    """Return what a stranger's exception says, as one line."""
    return " ".join(str(error).split()) or "no message"


def _fault_in(kind: Any, kind_type: type[Any]) -> str:
    """Say what is wrong with the fields of a kind; empty if nothing is."""
    name: object = kind.name
    if not isinstance(name, str) or not name or not name.isprintable() or " " in name:
        return f"whose name is {name!a}; it must be text without spaces"
    for field in _ANSWERS[kind_type]:
        if not callable(getattr(kind, field)):
            return f"'{name}' whose {field} cannot be called"
    if issubclass(kind_type, TransportKind | StoreKind):
        allowed = _PLACEHOLDERS if kind_type is TransportKind else frozenset[str]()
        if not _are_schemes(kind.schemes, allowed):
            return (
                f"'{name}' whose schemes are {kind.schemes!a}; they must be a frozenset of "
                "lower-case URL schemes without a colon, such as frozenset({'s3'})"
            )
    return _fault_in_settings(kind, kind_type) if hasattr(kind, "settings") else ""


def _fault_in_settings(kind: Any, kind_type: type[Any]) -> str:
    # A transport makes its settings itself; the others' are made from plain data.
    is_fine = isinstance(kind.settings, type) and (
        kind_type is TransportKind or has(cast("type[Any]", kind.settings))
    )
    if not is_fine:
        return f"'{kind.name}' whose settings are {kind.settings!a}; they must be an attrs class"
    options = kind.options if kind_type is TransportKind else None
    if options is not None and not (isinstance(options, type) and has(options)):
        return f"'{kind.name}' whose options are {options!a}; they must be an attrs class or None"
    return ""


def _are_schemes(schemes: object, allowed: frozenset[str]) -> bool:
    return (
        isinstance(schemes, frozenset)
        and bool(cast("frozenset[object]", schemes))
        and all(
            isinstance(scheme, str) and (scheme in allowed or _SCHEME.fullmatch(scheme))
            for scheme in cast("frozenset[object]", schemes)
        )
    )


def _guarded(
    function: Callable[..., object],
    answer_type: type[Any] | Callable[[], type[Any]],
    who: str,
    what: str,
) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        try:
            answer = function(*arguments)
        except (BackappError, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # a stranger's code may raise anything
            raise PluginMisbehaved(
                f"{who} raised {type(error).__name__} in {what}: {one_line(error)}"
            ) from error
        expected = answer_type if isinstance(answer_type, type) else answer_type()
        if not isinstance(answer, expected):
            raise PluginMisbehaved(
                f"{who} returned {type(answer).__name__} from {what}; "
                f"it must return an instance of {expected.__name__}"
            )
        return answer

    return call
