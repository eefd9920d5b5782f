"""What happens to a hostile tree between backups, step by step."""

import os
import random
import shutil
from pathlib import Path


def create_and_edit(top: Path) -> None:
    """Add files, folders and links, and change contents."""
    (top / "new folder/with/levels").mkdir(parents=True)
    (top / "new folder/with/levels/file").write_bytes(b"new")
    (top / "aaa first").write_bytes(b"sorts before everything")
    (top / "zzz last").symlink_to("aaa first")
    (top / "empty").write_bytes(b"no longer")
    (top / "incompressible").write_bytes(_noise(2_500_000))
    os.truncate(top / "sparse/all hole", 5 << 20)
    with (top / "sparse/holes at both ends").open("r+b") as file:
        file.seek(1 << 18)
        file.write(b"an island in the first hole")
    (top / "another empty folder").mkdir()
    os.mkfifo(top / "new folder/pipe")


def rename_delete_and_change_types(top: Path) -> None:
    """Move folders, remove, and put one kind of thing in the place of another."""
    (top / "names").rename(top / "renamed names")
    (top / "order/a/b").rename(top / "order/a/c")
    (top / "empty").unlink()
    shutil.rmtree(top / "modes")
    (top / "times/zero").unlink()
    (top / "times/zero").symlink_to("nanosecond")
    (top / "order/a-b").unlink()
    (top / "order/a-b").mkdir()
    (top / "order/a-b/inside").write_bytes(b"where a file was")
    shutil.rmtree(top / "new folder")
    (top / "new folder").write_bytes(b"where a folder was")
    (top / "special/fifo").unlink()
    (top / "special/fifo").write_bytes(b"where a fifo was")
    (top / "links/dangling").unlink()
    os.mkfifo(top / "links/dangling")
    (top / "empty folder").rmdir()


def touch_only_metadata(top: Path) -> None:
    """Change modes, owners, attributes and times of what keeps its content; as root."""
    (top / "renamed names/a").chmod(0o4711)
    os.chown(top / "renamed names/upper", 4321, 1234)
    os.setxattr(top / "renamed names/UPPER", "user.note", b"new")
    os.setxattr(top / "user attribute", "user.colour", b"blue")
    os.removexattr(top / "user attribute", "user.empty")
    os.utime(top / "incompressible", ns=(1, 1_500_000_000_000_000_001))
    os.utime(top / "sparse/huge", ns=(1, 77))
    os.chown(top / "links/up", 5, 6, follow_symlinks=False)
    os.utime(top / "links/top", ns=(5, 5), follow_symlinks=False)
    (top / "folders").chmod(0o700)
    os.setxattr(top / "folders", "user.folder", b"too")
    os.utime(top / "order", ns=(3, 3))
    (top / "special/socket").chmod(0o611)


def regroup_hard_links(top: Path) -> None:
    """Give old things new names, and take names and groups apart."""
    os.link(top / "links/one", top / "aaa before all others")
    (top / "elsewhere/below/three").unlink()
    os.link(top / "incompressible", top / "elsewhere/a new name of something old")
    (top / "links/empty").unlink()
    (top / "links/hard symlink").unlink()
    (top / "aaa first").unlink()
    os.link(top / "zzz last", top / "aaa first", follow_symlinks=False)
    content = (top / "elsewhere/two").read_bytes()
    (top / "elsewhere/two").unlink()
    (top / "elsewhere/two").write_bytes(content)
    os.link(top / "special/fifo", top / "special/another")
    (top / "special/hard fifo").unlink()
    os.link(top / "sparse/odd end", top / "sparse/1 odd")


def grow_shrink_and_link_on(top: Path) -> None:
    """Change lengths, up to those of files that are almost all hole."""
    os.truncate(top / "sparse/data at both ends", 1 << 20)
    os.truncate(top / "sparse/huge", 1 << 39)
    os.truncate(top / "incompressible", 100)
    with (top / "sparse/zeros that are stored").open("r+b") as file:
        file.seek(1 << 19)
        file.write(b"x" * 3_000_000)
    (top / "aaa before all others").unlink()
    os.link(top / "links/one", top / "elsewhere/zzz")
    shutil.rmtree(top / "deep")
    (top / "folders").chmod(0o755)
    os.truncate(top / "sparse/1 odd", 0)


def weigh_down(top: Path) -> None:
    """Add what no compressor makes smaller, so that everything later is little beside it."""
    (top / "ballast").write_bytes(_noise(6_000_000))


CHANGES = (
    weigh_down,
    create_and_edit,
    rename_delete_and_change_types,
    touch_only_metadata,
    regroup_hard_links,
    grow_shrink_and_link_on,
)
"""In the order in which each finds what it changes."""


def _noise(length_bytes: int) -> bytes:
    """Return the same bytes every time, which no compressor makes smaller."""
    return random.Random(length_bytes).randbytes(length_bytes)  # noqa: S311  # no secret
