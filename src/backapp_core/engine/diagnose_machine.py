"""Looks at the program, its optional parts, its folders and the clock."""

import os
import platform
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from backapp_core.manager import PluginManager
from backapp_core.model.diagnoses import Diagnosis, Verdict
from backapp_core.ports.surroundings import Surroundings

_BEFORE_US = datetime(2026, 1, 1, tzinfo=UTC)
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+).*extra == [\"']([a-z0-9]+)[\"']")
_NOT_OF_USE = {"all", "dev", "browser"}
"""Extras that gather others, and what only tests need."""


def diagnose_machine(surroundings: Surroundings, plugins: PluginManager) -> Iterator[Diagnosis]:
    """Look at everything that needs neither a source nor a repository."""
    yield _program()
    yield from _parts()
    kinds = sum(len(role.kinds) for role in plugins.roles)
    yield Diagnosis("plugins", Verdict.FINE, f"{kinds} kinds in {len(plugins.roles)} roles")
    yield _folder("cache folder", surroundings.cache_folder, Verdict.NOTE)
    yield _folder("state folder", surroundings.state_folder, Verdict.PROBLEM)
    now = surroundings.clock.now()
    if now < _BEFORE_US:
        message = f"it says {now:%Y-%m-%d %H:%M} UTC, which is before this program was written"
        yield Diagnosis("clock", Verdict.PROBLEM, message)


def _program() -> Diagnosis:
    try:
        program = f"backapp {version('backapp')}"
    except PackageNotFoundError:
        program = "backapp (not installed)"
    python = ".".join(map(str, sys.version_info[:3]))
    message = f"{program} on Python {python}, {platform.system()} {platform.release()}"
    return Diagnosis("program", Verdict.FINE, message)


def _parts() -> Iterator[Diagnosis]:
    """Name the extras of which something is not installed."""
    try:
        wanted = requires("backapp") or []
    except PackageNotFoundError:
        return
    matches = [match for match in map(_REQUIREMENT.match, wanted) if match]
    missing = {match[2] for match in matches if not _is_installed(match[1])} - _NOT_OF_USE
    if missing:
        names = ", ".join(sorted(missing))
        example = min(missing)
        message = f"not installed: {names}; to add one: pip install 'backapp[{example}]'"
        yield Diagnosis("extras", Verdict.NOTE, message)


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _folder(subject: str, folder: Path, otherwise: Verdict) -> Diagnosis:
    place = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Diagnosis(subject, Verdict.FINE, f"{folder} can be written")
    return Diagnosis(subject, otherwise, f"{folder} cannot be written")
