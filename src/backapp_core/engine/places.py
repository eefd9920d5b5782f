"""Remembers which repositories stood at an address, and notices one that was put in their place.

There is a journal per address, only ever appended to. Several may be known at one: disks that take
turns are mounted at the same place.
"""

import os
import re
from hashlib import sha256
from pathlib import Path

_HEADER = "# BackApp: repositories that stood at "
_LINE = re.compile(r"(known|met) ([0-9a-f]{1,128})")


class Places:
    """The journals of this machine."""

    def __init__(self, state_folder: Path) -> None:
        self._folder = state_folder / "places"

    def meet(self, address: str, repository_id: str) -> str:
        """Return the repository that was known at ``address`` if this one is not; else nothing.

        The first one that stands there is known from then on.

        Raises:
            OSError: If the state folder cannot be read or written.
        """
        path = self._path(address)
        facts = _facts(path)
        known = [one for word, one in facts if word == "known"]
        if repository_id in known:
            return ""
        if not known:
            self._append(path, f"known {repository_id}", address)
            return ""
        if ("met", repository_id) not in facts:
            self._append(path, f"met {repository_id}", address)
        return known[-1]

    def know(self, address: str, repository_id: str) -> None:
        """Remember a repository that this machine created.

        Raises:
            OSError: If the state folder cannot be read or written.
        """
        path = self._path(address)
        if ("known", repository_id) not in _facts(path):
            self._append(path, f"known {repository_id}", address)

    def accept(self, repository_id: str) -> None:
        """Know a repository wherever it was met.

        Raises:
            OSError: If the state folder cannot be read or written.
        """
        for path in sorted(self._folder.glob("*.log")):
            facts = _facts(path)
            if ("met", repository_id) in facts and ("known", repository_id) not in facts:
                self._append(path, f"known {repository_id}")

    def _path(self, address: str) -> Path:
        name = sha256(address.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self._folder / f"{name}.log"

    def _append(self, path: Path, line: str, address: str = "") -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            # The new line before closes one that a crash left open.
            opening = f"{_HEADER}{address!a}" if file.tell() == 0 else ""
            file.write(f"{opening}\n{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())


def _facts(path: Path) -> list[tuple[str, str]]:
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return [(match[1], match[2]) for match in found if match]
