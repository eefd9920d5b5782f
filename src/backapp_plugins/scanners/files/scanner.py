"""The `Scanner` that the settings describe: reads the rules once, walks as often as asked."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import final

from typing_extensions import override

from backapp_core.plugin_api import (
    FoundDirectory,
    InputError,
    InvalidPattern,
    Level,
    LogLine,
    Problem,
    Scanner,
    SourceNotFound,
    Surroundings,
    Verb,
    to_text,
)
from backapp_plugins.scanners.files import metadata
from backapp_plugins.scanners.files.faults import reason
from backapp_plugins.scanners.files.patterns import Rule, parse_pattern, parse_pattern_file
from backapp_plugins.scanners.files.roots import (
    checked_path,
    checked_roots,
    outermost,
    ways_to,
    without_missing,
)
from backapp_plugins.scanners.files.rules import Rules
from backapp_plugins.scanners.files.settings import FilesSettings
from backapp_plugins.scanners.files.walk import Limits, Walk


@final
class FilesScanner(Scanner):
    """Walks folders of this machine."""

    is_read_elsewhere = True

    def __init__(self, settings: FilesSettings, surroundings: Surroundings) -> None:
        self._named = checked_roots(settings.roots)
        self.roots = outermost(without_missing(self._named))
        self._surroundings = surroundings
        self._rules = Rules(_rules_of(settings))
        self._limits = _limits_of(settings)
        self._problems = 0
        self._user_name = cache(metadata.user_name)
        self._group_name = cache(metadata.group_name)

    @override
    def scan(self) -> Iterator[FoundDirectory]:
        self._problems = 0
        self._surroundings.cancel.check()
        ways = ways_to(self._named)
        if ways.are_all_missing:
            listed = ", ".join(f"'{to_text(root)}'" for root in self._named)
            verb = "does" if len(self._named) == 1 else "do"
            raise SourceNotFound(f"nothing to back up: {listed} {verb} not exist")
        for path, text in ways.faults:
            self._report(path, text)
        self._warn_of_links()
        walk = Walk(
            ways,
            rules=self._rules,
            limits=self._limits,
            check=self._surroundings.cancel.check,
            report=self._report,
        )
        try:
            yield from walk.directories()
        except BaseException:  # a scan that is given up, too
            walk.close()
            raise

    @override
    def user_name(self, uid: int) -> str:
        return self._user_name(uid)

    @override
    def group_name(self, gid: int) -> str:
        return self._group_name(gid)

    @property
    @override
    def problems(self) -> int:
        return self._problems

    def _warn_of_links(self) -> None:
        for root in self._named:
            if os.path.islink(root):  # noqa: PTH114  # bytes
                shown = to_text(root)
                text = f"{shown} is a symbolic link; what it points to is not backed up"
                if os.path.isdir(root):  # noqa: PTH112  # bytes
                    text += f" (write {shown}/ for the folder)"
                self._surroundings.events(LogLine(Level.WARNING, text))

    def _report(self, path: bytes, text: str) -> None:
        self._problems += 1
        self._surroundings.events(Problem(Verb.BACKUP, path, text))


def _limits_of(settings: FilesSettings) -> Limits:
    largest = settings.exclude_larger_than_bytes
    if largest is not None and largest < 0:
        raise InputError(f"the size limit {largest} is negative; use a number of bytes")
    for name in settings.exclude_if_present:
        if not name or b"/" in name or b"\0" in name or name in {b".", b".."}:
            raise InputError(f"'{to_text(name)}' is no file name to look for in a directory")
    return Limits(
        tags=settings.exclude_if_present,
        has_cache_tags=settings.exclude_caches,
        one_file_system=settings.one_file_system,
        largest_bytes=largest,
        skipped=tuple(checked_path(path, "folder to skip") for path in settings.skip_folders),
    )


def _rules_of(settings: FilesSettings) -> list[Rule]:
    """Return all rules in the order in which they are said.

    Raises:
        InvalidPattern: If a pattern is malformed or a pattern file cannot be read.
    """
    rules = [parse_pattern(text, origin="exclude pattern") for text in settings.excludes]
    rules += [
        parse_pattern(text, origin="exclude pattern", ignores_case=True)
        for text in settings.iexcludes
    ]
    for path in settings.exclude_files:
        try:
            content = Path(os.fsdecode(path)).read_bytes()
        except FileNotFoundError as error:
            raise InvalidPattern(f"pattern file '{to_text(path)}' does not exist") from error
        except OSError as error:
            raise InvalidPattern(
                f"pattern file '{to_text(path)}' cannot be read: {reason(error)}"
            ) from error
        rules += parse_pattern_file(content, path=path)
    rules += [
        parse_pattern(text, origin="include pattern", is_exclude=False)
        for text in settings.includes
    ]
    return rules
