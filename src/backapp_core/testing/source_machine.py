"""The part of a state machine that changes a source in every way, between whatever else happens."""

import os
import random
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from typing_extensions import override

_NAMES = (b"a", b"a-b", b"b", b"c", b"\xff\n", b"z")
_FOLDERS = (b"", b"a", b"b", b"a/b", b"b/a-b")
_BLOCK_BYTES = 4096


def _joined(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


PATHS: st.SearchStrategy[bytes] = st.builds(
    _joined, st.sampled_from(_FOLDERS), st.sampled_from(_NAMES)
)
"""Relative paths, few enough that steps meet."""
PICKS = st.integers(0, 1000)
"""Numbers that choose one of what there is."""
_SIZES = st.sampled_from((0, 1, 100, 5000, 70_000, 1_100_000))


class SourceMachine(RuleBasedStateMachine):
    """A folder that rules change; as root, since owners and trusted attributes change, too.

    Attributes:
        folder: A folder for this run, in memory where there is one; removed at its end.
        source: The path of what is changed.
        random: Chance that repeats.
    """

    first_files: ClassVar[tuple[bytes, ...]] = (b"a/b/c", b"a/a", b"b/c", b"z")

    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108  # no secret is in it
        self.folder = Path(tempfile.mkdtemp(prefix="backapp-machine-", dir=base))
        self.source = os.fsencode(self.folder / "source")
        self.random = random.Random(0)  # noqa: S311  # no secret
        (self.folder / "source").mkdir()
        for path in self.first_files:
            self.write(path, 100)
        os.link(self.place_of(b"a/a"), self.place_of(b"b/b"))

    @override
    def teardown(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)

    def place_of(self, path: bytes) -> bytes:
        """Return where ``path`` is."""
        return self.source + b"/" + path

    def existing(self, pick: int, wanted: Callable[[int], bool]) -> Path | None:
        """Return one of the paths whose mode is ``wanted``, None if there is none."""
        found: list[Path] = []
        for folder, folders, files in os.walk(os.fsdecode(self.source)):
            places = [Path(folder, name) for name in folders + files]
            found += [place for place in places if wanted(place.lstat().st_mode)]
        return sorted(found)[pick % len(found)] if found else None

    def wait_for_the_next_tick(self) -> None:
        """Let the file system's clock move on, so that the next change shows in its times."""
        scratch = self.folder / "scratch"
        scratch.touch()
        before = scratch.stat().st_ctime_ns
        while scratch.stat().st_ctime_ns == before:
            scratch.touch()

    @rule(path=PATHS, size=_SIZES)
    def write(self, path: bytes, size: int) -> None:
        """Put a new file somewhere."""
        self._clear(path).write_bytes(self.random.randbytes(size))

    @rule(pick=PICKS)
    def rewrite_with_the_same_size_and_mtime(self, pick: int) -> None:
        """Change content alone; only the change time tells."""
        place = self.existing(pick, stat.S_ISREG)
        if place is not None:
            before = place.stat()
            with place.open("r+b") as file:
                file.write(self.random.randbytes(min(before.st_size, 200)))
            os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(pick=PICKS, size=_SIZES)
    def grow_or_shrink(self, pick: int, size: int) -> None:
        """Change the length of a file."""
        place = self.existing(pick, stat.S_ISREG)
        if place is not None:
            os.truncate(place, size)

    @rule(path=PATHS, blocks=st.lists(st.integers(0, 300), max_size=3, unique=True))
    def write_sparse(self, path: bytes, blocks: list[int]) -> None:
        """Put a file of holes somewhere."""
        with self._clear(path).open("wb") as file:
            for block in blocks:
                file.seek(block * _BLOCK_BYTES)
                file.write(b"x" * _BLOCK_BYTES)
            file.truncate(301 * _BLOCK_BYTES + 5)

    @rule(path=PATHS)
    def make_folder(self, path: bytes) -> None:
        """Put an empty folder somewhere."""
        self._clear(path).mkdir()

    @rule(path=PATHS, leads_to=PATHS)
    def make_symlink(self, path: bytes, leads_to: bytes) -> None:
        """Put a symlink somewhere, which may lead nowhere."""
        self._clear(path).symlink_to(os.fsdecode(leads_to))

    @rule(path=PATHS)
    def make_fifo(self, path: bytes) -> None:
        """Put a fifo somewhere."""
        os.mkfifo(self._clear(path))

    @rule(pick=PICKS, path=PATHS)
    def link(self, pick: int, path: bytes) -> None:
        """Give something one more name."""
        place = self.existing(pick, lambda mode: not stat.S_ISDIR(mode))
        if place is not None and os.fsencode(place) != self.place_of(path):
            spare = self.folder / "spare"
            os.link(place, spare, follow_symlinks=False)
            spare.rename(self._clear(path))
            spare.unlink(missing_ok=True)  # two names of one file are not renamed

    @rule(pick=PICKS, path=PATHS)
    def rename(self, pick: int, path: bytes) -> None:
        """Move something, perhaps with all that is below it."""
        place = self.existing(pick, lambda _: True)
        new = Path(os.fsdecode(self.place_of(path)))
        if place is not None and not new.is_relative_to(place):
            spare = self.folder / "spare"
            place.rename(spare)
            spare.rename(self._clear(path))

    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        """Remove something."""
        place = self.existing(pick, lambda _: True)
        if place is not None:
            _remove(place)

    @rule(pick=PICKS, mode=st.integers(0o700, 0o7777), owner=st.integers(0, 70_000))
    def change_mode_and_owner(self, pick: int, mode: int, owner: int) -> None:
        """Change who may do what."""
        place = self.existing(pick, lambda mode: not stat.S_ISLNK(mode))
        if place is not None:
            os.chown(place, owner, owner + 1)
            place.chmod(mode | 0o700)

    @rule(pick=PICKS, value=st.binary(max_size=20))
    def change_attribute(self, pick: int, value: bytes) -> None:
        """Give something an extended attribute."""
        place = self.existing(pick, lambda _: True)
        if place is not None:
            os.setxattr(place, b"trusted.note", value, follow_symlinks=False)

    @rule(pick=PICKS, mtime_ns=st.integers(0, 2**62))
    def touch(self, pick: int, mtime_ns: int) -> None:
        """Set the times of something, forwards or back."""
        place = self.existing(pick, lambda _: True)
        if place is not None:
            os.utime(place, ns=(mtime_ns, mtime_ns), follow_symlinks=False)

    def _clear(self, path: bytes) -> Path:
        """Make room for ``path`` and return where it is."""
        place = Path(os.fsdecode(self.source))
        *folders, name = path.split(b"/")
        for part in folders:
            place /= os.fsdecode(part)
            if place.is_symlink() or not place.is_dir():
                _remove(place)
                place.mkdir()
        place /= os.fsdecode(name)
        _remove(place)
        return place


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
