"""A tree of files with everything that breaks backup programs, as a value.

Written by root it holds devices, owners and attributes of every name space;
`hostile_tree(as_root=False)` leaves out what only root may make. Whoever cannot keep a part of it
says so by `TreeSpec.only`.
"""

import os
import struct

from attrs import evolve

from backapp_core.model.entries import EntryKind
from backapp_core.testing.trees import Item, TreeSpec, directory, symlink

DEEP_PATH = b"deep/" + b"/".join(b"%03d-" % level + b"d" * 60 for level in range(70))
"""A directory whose path is longer than the 4,096 bytes that the system takes at once."""
SPARSE_BYTES = 1 << 40
_SECOND_NS = 1_000_000_000


def hostile_tree(*, as_root: bool = True) -> TreeSpec:
    """Return the tree; ``as_root`` adds devices, foreign owners and attributes that need rights."""
    items = {**_names(), **_links(), **_sparse_files(), **_times(), **_modes(), **_special_files()}
    items |= {
        b"empty": Item(),
        b"empty folder": directory(),
        b"user attribute": Item(
            b"x", xattrs=((b"user.colour", b"gr\xfcn\0"), (b"user.empty", b""))
        ),
        b"attributes/of a folder": directory(xattrs=((b"user.note", b"n" * 1000),)),
        DEEP_PATH + b"/file": Item(b"at the bottom"),
        DEEP_PATH + b"/link": symlink(b"file"),
        b"incompressible": Item(_noise(300_000)),
    }
    if as_root:
        items |= _things_of_root()
    return TreeSpec(items)


def posix_acl(*, named_user: int, mask: int = 7) -> bytes:
    """Return the value of ``system.posix_acl_access`` that gives one more user all rights."""
    undefined = 0xFFFFFFFF
    lines = ((1, 7, undefined), (2, 7, named_user), (4, 5, undefined), (16, mask, undefined))
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *line) for line in (*lines, (32, 5, undefined))
    )


def _names() -> dict[bytes, Item]:
    names = (
        b"\xff\xfe not utf-8 \x80",
        b"new\nline",
        b"return\rtab\t",
        b"escape \x1b[31mred\x1b[0m",
        b"right-to-left \xe2\x80\xaetxt.exe",
        b"line separator \xe2\x80\xa8 here",
        b"-rf",
        b"--exclude=everything",
        b"..x",
        b"...",
        b".hidden",
        b" leading space",
        b"trailing space ",
        b"trailing dot.",
        b"back\\slash",
        b"\\x41 looks escaped",
        b"quote'\"quote",
        b"*",
        b"?[a]",
        b"$(touch never)`never`;&|",
        b"percent %s %d %n",
        b"=1+1",
        b"NUL",
        b"C:",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"UPPER",
        b"upper",
        b"a",
        b"a-b",
        b"\x01\x02\x7f",
        b"~",
        b"#comment",
        b"!kept",
        b"n" * 255,
        "\U0001f4be".encode() * 63,
    )
    items = {b"names/" + name: Item(name) for name in names}
    items |= {b"folders/" + name + b"/inner": Item(b"in " + name) for name in names}
    # Order: as whole paths the second sorts before the first, in a scan after it.
    return {**items, b"order/a/b": Item(b"1"), b"order/a-b": Item(b"2"), b"order/a.b/c": Item(b"3")}


def _links() -> dict[bytes, Item]:
    return {
        b"links/one": Item(b"shared by many names"),
        b"elsewhere/two": Item(link_of=b"links/one"),
        b"elsewhere/below/three": Item(link_of=b"links/one"),
        b"links/empty": Item(),
        b"links/empty too": Item(link_of=b"links/empty"),
        b"links/hard symlink": symlink(b"nowhere"),
        b"links/hard symlink too": Item(link_of=b"links/hard symlink"),
        b"links/dangling": symlink(b"no/such/thing"),
        b"links/to itself": symlink(b"to itself"),
        b"links/up": symlink(b".."),
        b"links/top": symlink(b"/"),
        b"links/not utf-8": symlink(b"\xff\xfe\n"),
        b"links/long": symlink(b"l" * 4095),
        b"links/a file": symlink(b"one"),
        b"links/a folder": symlink(b"../elsewhere"),
        b"links/dated": symlink(b"one", mtime_ns=1),
    }


def _sparse_files() -> dict[bytes, Item]:
    data = _noise(8192)
    return {
        b"sparse/holes at both ends": Item(
            size_bytes=3 << 20, pieces=((1 << 20, data), (2 << 20, data))
        ),
        b"sparse/data at both ends": Item(
            size_bytes=(3 << 20) + 8192, pieces=((0, data), (3 << 20, data))
        ),
        b"sparse/all hole": Item(size_bytes=1 << 20),
        b"sparse/odd end": Item(size_bytes=(1 << 20) + 1, pieces=((65_536, b"x"),)),
        b"sparse/huge": Item(
            size_bytes=SPARSE_BYTES,
            pieces=((4096, data), (SPARSE_BYTES // 2, data), (SPARSE_BYTES - (1 << 20), data)),
        ),
        b"sparse/zeros that are stored": Item(bytes(1 << 20)),
    }


def _times() -> dict[bytes, Item]:
    return {
        b"times/nanosecond": Item(b"1", mtime_ns=1_234_567_890_000_000_001),
        b"times/before 1970": Item(b"2", mtime_ns=-_SECOND_NS * 86_400 * 365 + 999_999_999),
        b"times/one before zero": Item(b"3", mtime_ns=-1),
        b"times/zero": Item(b"4", mtime_ns=0),
        b"times/after 2038": Item(b"5", mtime_ns=4_102_444_800 * _SECOND_NS + 123_456_789),
        b"times/after 2262 folder": directory(mtime_ns=9_500_000_000 * _SECOND_NS + 7),
        b"times/old folder": directory(mtime_ns=-_SECOND_NS),
        b"times/old link": symlink(b"x", mtime_ns=-_SECOND_NS * 1000 - 1),
    }


def _modes() -> dict[bytes, Item]:
    items = {b"modes/%04o" % mode: Item(b"m", mode=mode) for mode in (0, 0o111, 0o400, 0o777)}
    items |= {b"modes/set %04o" % mode: Item(b"s", mode=mode) for mode in (0o4755, 0o2755, 0o1644)}
    items[b"modes/sticky folder"] = directory(mode=0o1777)
    items[b"modes/group folder"] = directory(mode=0o2775)
    items[b"modes/read-only folder/file"] = Item(b"inside")
    items[b"modes/read-only folder"] = directory(mode=0o555)
    items[b"modes/closed folder/file"] = Item(b"inside")
    items[b"modes/closed folder"] = directory(mode=0)
    return items


def _special_files() -> dict[bytes, Item]:
    return {
        b"special/fifo": Item(kind=EntryKind.FIFO, mode=0o640),
        b"special/socket": Item(kind=EntryKind.SOCKET, mode=0o600),
        b"special/hard fifo": Item(kind=EntryKind.FIFO),
        b"special/hard fifo too": Item(link_of=b"special/hard fifo"),
    }


def _things_of_root() -> dict[bytes, Item]:
    capability = struct.pack("<IIIII", 0x02000000 | 1, 1 << 10, 0, 0, 0)
    acl = posix_acl(named_user=12_345)
    device = Item(kind=EntryKind.CHAR_DEVICE, mode=0o600)
    items = {
        b"special/null": evolve(device, rdev=os.makedev(1, 3), mode=0o666),
        b"special/large numbers": evolve(device, rdev=os.makedev(4095, 1_048_575)),
        b"special/block": evolve(device, kind=EntryKind.BLOCK_DEVICE, rdev=os.makedev(7, 99)),
        b"owners/largest": Item(b"o", uid=2**32 - 2, gid=2**32 - 2),
        b"owners/set-id": Item(b"o", uid=1, gid=2, mode=0o6755),
        b"owners/folder": directory(uid=1000, gid=1001),
        b"owners/link": symlink(b"x", uid=1000, gid=1001),
        b"attributes/trusted": Item(b"a", xattrs=((b"trusted.secret", b"\0\1\2"),)),
        b"attributes/capability": Item(b"a", xattrs=((b"security.capability", capability),)),
        b"attributes/of a link": symlink(b"x", xattrs=((b"trusted.link", b"kept"),)),
        b"attributes/of a fifo": Item(kind=EntryKind.FIFO, xattrs=((b"trusted.fifo", b"kept"),)),
        b"attributes/acl": Item(b"a", mode=0o775, xattrs=((b"system.posix_acl_access", acl),)),
    }
    items[b"attributes/acl folder"] = directory(
        mode=0o775,
        xattrs=((b"system.posix_acl_access", acl), (b"system.posix_acl_default", acl)),
    )
    return items


def _noise(length_bytes: int) -> bytes:
    """Return the same bytes every time, which no compressor makes smaller."""
    import random  # noqa: PLC0415  # for tests only

    return random.Random(length_bytes).randbytes(length_bytes)  # noqa: S311  # no secret
