"""Finds plugins, checks what they offer, and hands it out by name.

The only module that talks to pluggy.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, cast

import pluggy
from attrs import frozen

from backapp_core import hookspecs
from backapp_core.errors import DuplicatePlugin, PluginMisbehaved, UnknownPlugin
from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.notifiers import NotifierKind
from backapp_core.ports.scanners import ScannerKind
from backapp_core.ports.schedulers import SchedulerKind
from backapp_core.ports.stores import StoreKind
from backapp_core.ports.transports import TransportKind


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_Kind = TypeVar("_Kind", bound=_Named)


@frozen
class Offer(Generic[_Kind]):
    """A kind and the plugin that offers it."""

    kind: _Kind
    plugin: str
    """Name of the entry point."""
    distribution: str
    """Name and version of the package it came from, empty if it was registered by hand."""


class Role(Generic[_Kind]):
    """The kinds of one role, by name; immutable."""

    def __init__(self, name: str, offers: Mapping[str, Offer[_Kind]]) -> None:
        self.name = name
        self._offers = MappingProxyType(dict(offers))

    @property
    def offers(self) -> Sequence[Offer[_Kind]]:
        """All of them, in order of their names."""
        return [self._offers[name] for name in sorted(self._offers)]

    @property
    def kinds(self) -> Sequence[_Kind]:
        """All kinds, in order of their names."""
        return [offer.kind for offer in self.offers]

    def get(self, name: str) -> _Kind:
        """Return the kind called ``name``.

        Raises:
            UnknownPlugin: If no plugin offers it; the message lists what there is.
        """
        try:
            return self._offers[name].kind
        except KeyError:
            known = ", ".join(sorted(self._offers)) or "none"
            raise UnknownPlugin(
                f"there is no {self.name} called '{name}'; installed: {known}"
            ) from None


class PluginManager:
    """What is installed, loaded and checked; made by `load`."""

    def __init__(self, plugins: Sequence[tuple[str, str, object]]) -> None:
        """Register ``plugins`` (name, distribution, object) in this order; ask each what it offers.

        Raises:
            PluginMisbehaved: If one has a hook that nobody asks for, raises, or returns something
                else than kinds.
            DuplicatePlugin: If two offer the same role and name, or are registered under one name.
        """
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._distributions = {name: distribution for name, distribution, _ in plugins}
        for name, _, plugin in plugins:
            self._register(name, plugin)
        self.scanners = Role("scanner", self._ask("backapp_scanners", ScannerKind, "scanner"))
        self.archivers = Role("archiver", self._ask("backapp_archivers", ArchiverKind, "archiver"))
        self.transports = Role(
            "transport", self._ask("backapp_transports", TransportKind, "transport")
        )
        self.schedulers = Role(
            "scheduler", self._ask("backapp_schedulers", SchedulerKind, "scheduler")
        )
        self.notifiers = Role("notifier", self._ask("backapp_notifiers", NotifierKind, "notifier"))
        self.stores = Role("store", self._ask("backapp_stores", StoreKind, "store"))

    @classmethod
    def load(
        cls, *, disabled: Iterable[str] = (), extra: Mapping[str, object] | None = None
    ) -> "PluginManager":
        """Load every installed plugin that is not ``disabled``, and register ``extra`` ones.

        Both are known by the names of their entry points.

        Raises:
            PluginMisbehaved: If a plugin cannot be imported or breaks its contract; says which, and
                how to do without it.
            DuplicatePlugin: If two offer the same.
        """
        off = set(disabled)
        found = [
            (point.name, _distribution_of(point), _import(point))
            for point in sorted(entry_points(group=hookspecs.PROJECT), key=lambda point: point.name)
            if point.name not in off
        ]
        return cls([*found, *((name, "", plugin) for name, plugin in (extra or {}).items())])

    @property
    def roles(self) -> Sequence[Role[Any]]:
        """All six, in the order in which bytes and words pass through them."""
        return (
            self.scanners,
            self.archivers,
            self.transports,
            self.schedulers,
            self.notifiers,
            self.stores,
        )

    def transport_for(self, scheme: str) -> TransportKind:
        """Return the transport that opens addresses of ``scheme``.

        One that claims it goes before one that takes any.

        Raises:
            UnknownPlugin: If there is none.
        """
        for claimed in (scheme, "*"):
            for kind in self.transports.kinds:
                if claimed in kind.schemes and (claimed != "*" or scheme):
                    return kind
        raise UnknownPlugin(f"no installed transport opens '{scheme}:' addresses")

    def store_for(self, scheme: str) -> StoreKind:
        """Return the store that opens URLs of ``scheme``.

        Raises:
            UnknownPlugin: If there is none.
        """
        for kind in self.stores.kinds:
            if scheme in kind.schemes:
                return kind
        raise UnknownPlugin(f"no installed store opens '{scheme}:' addresses")

    def _register(self, name: str, plugin: object) -> None:
        try:
            self._pluggy.register(plugin, name=name)
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginMisbehaved(
                f"plugin '{name}' has a hook that does not exist or does not fit: "
                f"{_one_line(error)}"
            ) from error
        except ValueError as error:
            raise DuplicatePlugin(f"plugin '{name}' is registered twice") from error

    def _ask(self, hook: str, kind_type: type[_Kind], role: str) -> dict[str, Offer[_Kind]]:
        offers: dict[str, Offer[_Kind]] = {}
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            plugin = cast("str", implementation.plugin_name)
            for kind in self._call(implementation.function, hook, kind_type, plugin):
                if kind.name in offers:
                    other = offers[kind.name].plugin
                    raise DuplicatePlugin(
                        f"plugins '{other}' and '{plugin}' both offer a {role} "
                        f"called '{kind.name}'; "
                        "uninstall or disable one of them (plugins.disabled in the settings file)"
                    )
                offers[kind.name] = Offer(kind, plugin, self._distributions.get(plugin, ""))
        return offers

    @staticmethod
    def _call(function: Any, hook: str, kind_type: type[_Kind], plugin: str) -> Sequence[_Kind]:
        try:
            answer = function()
        except (Exception, SystemExit) as error:  # a stranger's code may raise anything
            raise PluginMisbehaved(
                f"plugin '{plugin}' raised {type(error).__name__} in {hook}: {_one_line(error)}"
            ) from error
        if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
            raise PluginMisbehaved(
                f"plugin '{plugin}' returned {type(answer).__name__} from {hook}; "
                f"it must return a sequence of {kind_type.__name__}"
            )
        for kind in cast("Sequence[object]", answer):
            if not isinstance(kind, kind_type):
                raise PluginMisbehaved(
                    f"plugin '{plugin}' returned a sequence with {type(kind).__name__} "
                    f"from {hook}; it must hold {kind_type.__name__} only"
                )
        return cast("Sequence[_Kind]", answer)


def _import(point: EntryPoint) -> object:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise PluginMisbehaved(
            f"plugin '{point.name}' ({_distribution_of(point) or point.value}) cannot be loaded: "
            f"{type(error).__name__}: {_one_line(error)}; "
            "uninstall it or name it in plugins.disabled in the settings file"
        ) from error


def _distribution_of(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no message"
