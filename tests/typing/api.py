"""Uses of the public types, as a program and as a plugin; only type-checked, never run."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import assert_type

from attrs import frozen
from typing_extensions import override

import backapp_core
from backapp_core import plugin_api

# --- a program ---


def listen(event: backapp_core.Event) -> None:
    match event:
        case backapp_core.Progress(files_done=files):
            assert_type(files, int)
        case backapp_core.Problem(path=path, reason=reason):
            assert_type(path, bytes)
            assert_type(reason, str)
        case _:
            pass


def back_up(folder: Path) -> str:
    with backapp_core.assemble(events=listen) as engine:
        assert_type(engine, backapp_core.Engine)
        with engine.create_repository(folder / "repository", archiver="targz") as repository:
            result = engine.backup(repository, [folder])
            assert_type(result.snapshot.taken_at, datetime)
            return result.snapshot.id


def get_back(folder: Path, name: str) -> None:
    recording = backapp_core.Recording()
    with (
        backapp_core.assemble(events=recording) as engine,
        engine.open_repository(str(folder)) as repository,
    ):
        snapshot = engine.find_snapshot(repository, name)
        request = backapp_core.RestoreRequest(target=folder / "restored")
        outcome = engine.restore(engine.plan_restore(repository, snapshot, request))
        del outcome
        for node in engine.list_nodes(repository, snapshot):
            assert_type(node.path, bytes)
    assert_type(recording.problem_paths, list[bytes])


def fail(folder: Path) -> int:
    try:
        back_up(folder)
    except backapp_core.BackappError as error:
        return len(error.message)
    return 0


# --- a plugin ---


@frozen
class ShelfSettings:
    path: Path


class Shelf(plugin_api.Transport):
    def __init__(self, settings: ShelfSettings) -> None:
        self._settings = settings

    @property
    @override
    def address(self) -> str:
        return str(self._settings.path)

    @override
    def put(
        self,
        name: str,
        body: plugin_api.Body,
        *,
        size_bytes: int | None = None,
        replace: bool = False,
    ) -> int:
        raise plugin_api.AccessRefused(f"{name} is not taken")

    @override
    def get(
        self, name: str, *, offset: int = 0, length_bytes: int | None = None
    ) -> Iterator[bytes]:
        yield b""

    @override
    def stat(self, name: str) -> plugin_api.ObjectInfo:
        return plugin_api.ObjectInfo(name=plugin_api.check_object_name(name), size_bytes=0)

    @override
    def list(self, prefix: str = "") -> Iterator[plugin_api.ObjectInfo]:
        yield self.stat(prefix)

    @override
    def delete(self, name: str) -> None:
        return None

    @override
    def prepare(self) -> None:
        return None

    @override
    def close(self) -> None:
        return None


def parse_shelf(address: str) -> ShelfSettings:
    return ShelfSettings(Path(address))


def open_shelf(settings: ShelfSettings, surroundings: plugin_api.Surroundings) -> Shelf:
    assert_type(surroundings.clock.now(), datetime)
    return Shelf(settings)


@plugin_api.hookimpl
def backapp_transports() -> Sequence[plugin_api.TransportKind]:
    return [
        plugin_api.TransportKind(
            name="shelf",
            schemes=frozenset({"shelf"}),
            settings=ShelfSettings,
            parse=parse_shelf,
            open=open_shelf,
        )
    ]
