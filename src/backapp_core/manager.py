"""Finds plugins, checks what they offer, and hands it out by name.

The only module that talks to pluggy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import Distribution, EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

import pluggy
from attrs import frozen

from backapp_core import hookspecs
from backapp_core.errors import DuplicatePlugin, PluginMisbehaved, UnknownPlugin
from backapp_core.offers import Named, one_line, vetted
from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.notifiers import NotifierKind
from backapp_core.ports.scanners import ScannerKind
from backapp_core.ports.schedulers import SchedulerKind
from backapp_core.ports.store_kinds import StoreKind
from backapp_core.ports.transports import TransportKind

_WAY_OUT = "uninstall it or name it in plugins.disabled in the settings file"

_Kind = TypeVar("_Kind", bound=Named)
_Claiming = TypeVar("_Claiming", TransportKind, StoreKind)


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
            PluginMisbehaved: If one has no hook, or one that nobody asks for, raises, or returns
                something else than well-made kinds.
            DuplicatePlugin: If two offer the same role and name, claim the same scheme, or are
                registered under one name.
        """
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._distributions: dict[str, str] = {}
        for name, distribution, plugin in plugins:
            self._register(name, distribution, plugin)
        self.scanners = self._role("scanner", ScannerKind)
        self.archivers = self._role("archiver", ArchiverKind)
        self.transports = self._role("transport", TransportKind)
        self.schedulers = self._role("scheduler", SchedulerKind)
        self.notifiers = self._role("notifier", NotifierKind)
        self.stores = self._role("store", StoreKind)
        self._transport_of = _by_scheme(self.transports)
        self._store_of = _by_scheme(self.stores)

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
            UnknownPlugin: If one that is ``disabled`` is not installed.
        """
        off = set(disabled)
        points = sorted(entry_points(group=hookspecs.PROJECT), key=lambda point: point.name)
        _check_known(off, {point.name for point in points})
        wanted = [point for point in points if point.name not in off]
        _check_apart(wanted)
        said = {dist: _described(dist) for dist in {point.dist for point in wanted}}
        found = [(point.name, said[point.dist], _import(point)) for point in wanted]
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
        kind = self._transport_of.get(scheme)
        if kind is None and scheme:
            kind = self._transport_of.get("*")
        if kind is not None:
            return kind
        raise UnknownPlugin(f"no installed transport opens '{scheme}:' addresses")

    def store_for(self, scheme: str) -> StoreKind:
        """Return the store that opens URLs of ``scheme``.

        Raises:
            UnknownPlugin: If there is none.
        """
        kind = self._store_of.get(scheme)
        if kind is not None:
            return kind
        raise UnknownPlugin(f"no installed store opens '{scheme}:' addresses")

    def _register(self, name: str, distribution: str, plugin: object) -> None:
        if name in self._distributions:
            raise DuplicatePlugin(f"two plugins are called '{name}'; register one of them only")
        self._distributions[name] = distribution
        try:
            self._pluggy.register(plugin, name=name)
        except pluggy.PluginValidationError as error:
            raise PluginMisbehaved(
                f"plugin '{name}' has a hook that does not fit: {one_line(error)}; {_WAY_OUT}"
            ) from error
        except ValueError as error:
            other = self._pluggy.get_name(plugin)
            raise DuplicatePlugin(
                f"plugins '{other}' and '{name}' are the same module; "
                "disable one of them (plugins.disabled in the settings file)"
            ) from error
        self._check_hooks(name, plugin)

    def _check_hooks(self, name: str, plugin: object) -> None:
        known = [hook for hook in dir(hookspecs) if hook.startswith(f"{hookspecs.PROJECT}_")]
        callers = self._pluggy.get_hookcallers(plugin) or []
        for caller in callers:
            if caller.name not in known:
                close = get_close_matches(caller.name, known, n=1)
                meant = f", perhaps {close[0]} is meant" if close else ""
                raise PluginMisbehaved(
                    f"plugin '{name}' has a hook that does not exist: {caller.name}{meant}; "
                    f"{_WAY_OUT}"
                )
        if not callers:
            unmarked = ", ".join(hook for hook in known if hasattr(plugin, hook))
            why = f"{unmarked} is not marked with @hookimpl" if unmarked else "it offers nothing"
            raise PluginMisbehaved(f"plugin '{name}' has no hooks: {why}; {_WAY_OUT}")

    def _role(self, role: str, kind_type: type[_Kind]) -> Role[_Kind]:
        hook = f"{hookspecs.PROJECT}_{role}s"
        offers: dict[str, Offer[_Kind]] = {}
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            plugin = cast("str", implementation.plugin_name)
            for kind in self._call(implementation.function, hook, kind_type, plugin):
                offered = vetted(kind, kind_type, role=role, plugin=plugin)
                if kind.name in offers:
                    other = offers[kind.name].plugin
                    raise _duplicate(other, plugin, f"{role} called", kind.name)
                offers[kind.name] = Offer(offered, plugin, self._distributions[plugin])
        return Role(role, offers)

    @staticmethod
    def _call(function: Any, hook: str, kind_type: type[_Kind], plugin: str) -> Sequence[_Kind]:
        try:
            answer = function()
        except (Exception, SystemExit) as error:  # a stranger's code may raise anything
            raise PluginMisbehaved(
                f"plugin '{plugin}' raised {type(error).__name__} in {hook}: {one_line(error)}"
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
            f"plugin '{point.name}' ({_described(point.dist) or point.value}) cannot be loaded: "
            f"{type(error).__name__}: {one_line(error)}; {_WAY_OUT}"
        ) from error


def _described(dist: Distribution | None) -> str:
    if dist is None:
        return ""
    said = dist.metadata  # parsed anew whenever it is asked for
    return f"{said['Name']} {said['Version']}"


def _by_scheme(role: Role[_Claiming]) -> Mapping[str, _Claiming]:
    # A scheme that two claim would silently be that of the first in the alphabet.
    claims: dict[str, Offer[_Claiming]] = {}
    for offer in role.offers:
        for scheme in sorted(offer.kind.schemes):
            if scheme in claims:
                other = claims[scheme].plugin
                raise _duplicate(other, offer.plugin, f"{role.name} for the scheme", scheme)
            claims[scheme] = offer
    return {scheme: offer.kind for scheme, offer in claims.items()}


def _duplicate(first: str, second: str, what: str, name: str) -> DuplicatePlugin:
    if first == second:
        return DuplicatePlugin(f"plugin '{first}' offers more than one {what} '{name}'; {_WAY_OUT}")
    return DuplicatePlugin(
        f"plugins '{first}' and '{second}' both offer a {what} '{name}'; "
        "uninstall or disable one of them (plugins.disabled in the settings file)"
    )


def _check_known(disabled: Iterable[str], installed: Iterable[str]) -> None:
    for name in sorted(set(disabled) - set(installed)):
        raise UnknownPlugin(
            f"plugins.disabled names '{name}', but no plugin is called so; "
            f"installed: {', '.join(sorted(installed)) or 'none'}"
        )


def _check_apart(points: Iterable[EntryPoint]) -> None:
    points = list(points)
    counts = Counter(point.name for point in points)
    for name in sorted(name for name, count in counts.items() if count > 1):
        packages = " and ".join(
            _described(point.dist) or point.value for point in points if point.name == name
        )
        raise DuplicatePlugin(
            f"{packages} both announce a plugin called '{name}'; uninstall one of them"
        )
