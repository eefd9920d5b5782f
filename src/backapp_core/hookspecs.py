"""The questions asked of plugins: one function per role.

Every hook here is called once per `manager.PluginManager.load`, before anything else of the plugin
is used, from the thread that assembles the engine. It returns descriptions and opens nothing; what
it describes is opened later, when somebody asks for it by name, so vendor libraries are imported
there. If it raises, or returns anything but what its signature says, loading ends with
`errors.PluginMisbehaved`, which names the plugin.
"""

from collections.abc import Sequence

import pluggy

from backapp_core.ports.archivers import ArchiverKind
from backapp_core.ports.notifiers import NotifierKind
from backapp_core.ports.scanners import ScannerKind
from backapp_core.ports.schedulers import SchedulerKind
from backapp_core.ports.store_kinds import StoreKind
from backapp_core.ports.transports import TransportKind

PROJECT = "backapp"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def backapp_scanners() -> Sequence[ScannerKind]:  # type: ignore[empty-body]  # a specification has no body
    """Offer the scanners that say what there is to back up."""


@hookspec
def backapp_archivers() -> Sequence[ArchiverKind]:  # type: ignore[empty-body]  # a specification has no body
    """Offer the archivers that turn entries into stored objects and back."""


@hookspec
def backapp_transports() -> Sequence[TransportKind]:  # type: ignore[empty-body]  # a specification has no body
    """Offer the transports that move named objects."""


@hookspec
def backapp_schedulers() -> Sequence[SchedulerKind]:  # type: ignore[empty-body]  # a specification has no body
    """Offer the schedulers that say when a job is due."""


@hookspec
def backapp_notifiers() -> Sequence[NotifierKind]:  # type: ignore[empty-body]  # a specification has no body
    """Offer the notifiers that tell somebody."""


@hookspec
def backapp_stores() -> Sequence[StoreKind]:  # type: ignore[empty-body]  # a specification has no body
    """Offer the stores that remember jobs and runs."""
