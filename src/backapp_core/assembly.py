"""Settings and plugins become an engine; the only place where concrete things meet."""

from __future__ import annotations  # the plugin manager is not there at run time

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from backapp_core.engine import Engine
from backapp_core.errors import InputError
from backapp_core.events import EventSink, void
from backapp_core.model.quantities import seconds_of
from backapp_core.ports.line import Line, Pace
from backapp_core.ports.surroundings import CancelToken, Surroundings
from backapp_core.settings import Settings

if TYPE_CHECKING:
    from backapp_core.engine.server import Server
    from backapp_core.manager import PluginManager  # with importlib.metadata 20 ms, when needed

_MOST_THREADS_BY_DEFAULT = 8


def assemble(
    settings: Settings | None = None,
    *,
    plugins: PluginManager | None = None,
    surroundings: Surroundings | None = None,
    events: EventSink = void,
    cancel: CancelToken | None = None,
) -> Engine:
    """Make an engine; nothing is loaded, opened or written yet.

    Args:
        settings: What a settings file says; None means nothing.
        plugins: What is installed; None loads it when it is first needed.
        surroundings: Everything that plugins find around them; None makes them from the settings.
        events: Is told what happens.
        cancel: Stops what the engine does when it is set, for good: from then on every verb that
            asks it raises `RunCancelled`. One token is for one engine's life; to go on, assemble
            another engine with a new token. Without one, nothing stops but by an exception.

    Raises:
        InputError: If the settings are plain data instead of `Settings`, or were made without
            `Settings.parse` and hold what it would refuse.
    """
    if settings is None:
        settings = Settings()
    elif not isinstance(settings, Settings):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise InputError(
            f"settings are a Settings object and no {type(settings).__name__}; "
            "make one of plain data with Settings.parse"
        )
    if surroundings is None:
        surroundings = _surroundings(settings)
    elif settings.transports:
        surroundings = evolve(surroundings, transports=settings.transports)
    if events is not void:
        surroundings = evolve(surroundings, events=events)
    if cancel is not None:
        surroundings = evolve(surroundings, cancel=cancel)
    return Engine(settings, surroundings, plugins)


def assemble_server(
    settings: Settings,
    *,
    plugins: PluginManager | None = None,
    surroundings: Surroundings | None = None,
    events: EventSink = void,
    cancel: CancelToken | None = None,
) -> Server:
    """Make what the web door holds; its store is opened when it is first needed.

    Args:
        settings: What a settings file says.
        plugins: What is installed; None loads it.
        surroundings: Everything that plugins find around them; None makes them from the settings.
        events: Is told what happens.
        cancel: Is handed to whatever can be stopped.

    Raises:
        PluginError: If a plugin cannot be loaded or breaks its contract; names it.
    """
    from backapp_core.engine.server import Server  # noqa: PLC0415  # commands know no server

    surroundings = _surroundings(settings) if surroundings is None else surroundings
    if events is not void:
        surroundings = evolve(surroundings, events=events)
    if cancel is not None:
        surroundings = evolve(surroundings, cancel=cancel)
    return Server(settings, surroundings, plugins or load_plugins(settings))


def load_plugins(settings: Settings | None = None) -> PluginManager:
    """Load every installed plugin that the settings do not disable.

    Raises:
        PluginError: If a plugin cannot be loaded or breaks its contract; names it.
    """
    from backapp_core.manager import PluginManager  # noqa: PLC0415  # see above

    return PluginManager.load(disabled=(settings or Settings()).plugins.disabled)


def _surroundings(settings: Settings) -> Surroundings:
    # Reads the environment's XDG folders, which belong to the operating system's conventions.
    import platformdirs  # noqa: PLC0415  # 10 ms that somebody with surroundings of their own need not spend

    cache, state = settings.cache_folder, settings.state_folder
    return Surroundings(
        cache_folder=Path(cache or platformdirs.user_cache_dir("backapp", appauthor=False)),
        state_folder=Path(state or platformdirs.user_state_dir("backapp", appauthor=False)),
        threads=settings.threads or min(os.cpu_count() or 1, _MOST_THREADS_BY_DEFAULT),
        compression=settings.compression,
        lock_wait_seconds=seconds_of(settings.retry_lock) if settings.retry_lock else 0.0,
        line=Line(
            upload=Pace(settings.limit_upload.bytes_per_second),
            download=Pace(settings.limit_download.bytes_per_second),
        ),
        transports=settings.transports,
    )
