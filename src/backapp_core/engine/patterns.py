"""What of a snapshot is restored: include and exclude patterns as in ``.gitignore``."""

import re
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from backapp_core.engine.pattern_syntax import check_pattern, without_classes
from backapp_core.errors import InvalidPattern
from backapp_core.model.entries import EntryKind, Node, is_below
from backapp_core.ports.targets import Selection

_GLOB = re.compile(r"[*?\[\\]")


class Patterns:
    """Patterns of one purpose, compiled; an empty list matches nothing."""

    def __init__(
        self, lines: Sequence[str], *, is_exclude: bool = True, ignores_case: bool = False
    ) -> None:
        """Compile ``lines``.

        Raises:
            InvalidPattern: If one is malformed; says which.
        """
        for line in lines:
            check_pattern(line, is_exclude=is_exclude)
        self._ignores_case = ignores_case
        # On a command line there are no comments: a name may begin with '#'.
        plain = [without_classes(f"\\{line}" if line.startswith("#") else line) for line in lines]
        folded = [line.lower() for line in plain] if ignores_case else plain
        self._is_empty = not folded
        self._match: Callable[[str], bool] = _compile(folded) if folded else lambda _: False
        self._stems = _stems(folded)

    @property
    def is_empty(self) -> bool:
        """Whether there is no pattern."""
        return self._is_empty

    def match(self, path: bytes, *, is_directory: bool) -> bool:
        """Say whether the path, or a directory above it, is matched."""
        text = self._text(path).lstrip("/")
        return bool(text) and self._match(f"{text}/" if is_directory else text)

    def may_match_below(self, path: bytes) -> bool:
        """Say whether the patterns could match anything at or below the directory ``path``."""
        if self._stems is None:
            return True
        text = self._text(path).encode("utf-8", "surrogateescape")
        return any(
            text == stem or is_below(text, stem) or is_below(stem, text) for stem in self._stems
        )

    def _text(self, path: bytes) -> str:
        text = path.decode("utf-8", "surrogateescape")
        return text.lower() if self._ignores_case else text


@frozen
class Chosen:
    """What the patterns let through, before one knows which directories lead to it."""

    top: bytes
    """Folder that patterns are relative to; only what is below it is chosen."""
    include: Patterns
    exclude: Patterns

    def wants(self, node: Node) -> bool:
        """Say whether the patterns choose ``node`` itself."""
        path = self.relative(node.path)
        if path is None:
            return False
        is_directory = node.kind is EntryKind.DIRECTORY
        if self.exclude.match(path, is_directory=is_directory):
            return False
        return self.include.is_empty or self.include.match(path, is_directory=is_directory)

    def enters(self, path: bytes) -> bool:
        """Say whether something at or below ``path`` may be chosen."""
        if is_below(self.top, path):
            return True
        inner = b"/" if path == self.top else self.relative(path)
        if inner is None or self.exclude.match(inner, is_directory=True):
            return False
        return self.include.is_empty or self.include.may_match_below(inner)

    def relative(self, path: bytes) -> bytes | None:
        """Return ``path`` as seen from the top, None if it is not below it."""
        if self.top == b"/":
            return path
        return path[len(self.top) :] if is_below(path, self.top) else None


@frozen
class WithParents:
    """What was chosen, and the directories that lead to it."""

    chosen: Chosen
    parents: frozenset[bytes]

    def wants(self, node: Node) -> bool:
        """Say whether ``node`` is chosen or leads to something that is."""
        return node.path in self.parents or self.chosen.wants(node)

    def enters(self, path: bytes) -> bool:
        """Say whether something chosen stands at or below ``path``."""
        return path in self.parents


def select(nodes: Iterable[Node], chosen: Chosen) -> Selection | None:
    """Walk ``nodes`` and return a selection of what is chosen with the directories that lead to it.

    The answer is None if nothing is chosen. It takes memory for the path of each such directory.
    """
    parents: set[bytes] = set()
    found = False
    for node in nodes:
        if chosen.wants(node):
            found = True
            parent = node.path if node.kind is EntryKind.DIRECTORY else _parent(node.path)
            while parent not in parents:
                parents.add(parent)
                parent = _parent(parent)
    return WithParents(chosen, frozenset(parents)) if found else None


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0] or b"/"


def _compile(lines: Sequence[str]) -> Callable[[str], bool]:
    import pathspec  # noqa: PLC0415  # 24 ms that most commands can do without

    for line in lines:
        try:
            pathspec.GitIgnoreSpec.from_lines([line])
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise InvalidPattern(f"the pattern {line!a} is malformed: {reason}") from error
    return pathspec.GitIgnoreSpec.from_lines(lines).match_file


def _stems(lines: Sequence[str]) -> tuple[bytes, ...] | None:
    """Return the literal paths that anchored patterns begin with, None if one has no anchor."""
    stems: list[bytes] = []
    for line in lines:
        if line.startswith("!"):
            continue
        if "/" not in line.rstrip().rstrip("/"):
            return None
        parts: list[str] = []
        for part in line.rstrip().strip("/").split("/"):
            if _GLOB.search(part):
                break
            parts.append(part)
        stems.append(("/" + "/".join(parts)).encode("utf-8", "surrogateescape"))
    return tuple(stems)
