"""Gives restored entries their owner, attributes, permissions and times.

Flags of the file system (immutable, append-only) are not restored.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import frozen

from backapp_core.model.names import to_text

SET_ID = 0o6000
_MODE_BITS = 0o7777
_ID_LIMIT = 0xFFFFFFFF
_PRIVILEGED = (b"security.", b"trusted.")
_ACCESS_ACL = b"system.posix_acl_access"
_CAPABILITY = b"security.capability"
# Others (labels, trusted ones) are the business of the system that the entry is on.
_GRANTS = frozenset((_ACCESS_ACL, b"system.posix_acl_default", _CAPABILITY))


@frozen
class Rights:
    """What a restore may give to entries."""

    owners: bool
    """Whether owner and group are given, by their numbers."""
    special: bool
    """Whether set-id bits, devices, ``security.*`` and ``trusted.*`` attributes are given."""


class Metadata(Protocol):
    """What `give` gives; nodes have it, and so have the records of directories."""

    @property
    def mode(self) -> int:
        """Permission bits with set-id and sticky bits."""
        ...

    @property
    def uid(self) -> int:
        """Owner."""
        ...

    @property
    def gid(self) -> int:
        """Group."""
        ...

    @property
    def mtime_ns(self) -> int:
        """Modification time."""
        ...

    @property
    def xattrs(self) -> Sequence[tuple[bytes, bytes]]:
        """Extended attributes."""
        ...


@frozen
class Given:
    """How giving went."""

    fault: str = ""
    """What could not be given, in words; empty if nothing."""
    is_withheld: bool = False
    """Whether privileges were left away on purpose."""


ALL_GIVEN = Given()


def give(
    where: int | str,
    wanted: Metadata,
    found: os.stat_result,
    rights: Rights,
    *,
    has_mode: bool = True,
) -> Given:
    """Give an entry its metadata, as far as ``rights`` and the system go.

    The order matters: a change of owner clears set-id bits and capabilities; attributes need write
    permission, which the final mode may lack. Set-id bits go only to an entry that has the owner
    and the group of the snapshot. Nothing is raised: content is worth keeping without its metadata.

    Args:
        where: Descriptor of the entry, or a path that leads to an open one (``/proc/self/fd/7``).
        wanted: What the snapshot has.
        found: What the entry has now.
        rights: What may be given.
        has_mode: False for symlinks, which have no permissions.
    """
    faults: list[str] = []
    is_withheld = False
    mode = wanted.mode & _MODE_BITS
    is_owner = found.st_uid == wanted.uid and found.st_gid == wanted.gid
    has_mode_already = has_mode and found.st_mode & _MODE_BITS == mode
    if is_owner and has_mode_already and not (wanted.xattrs or mode & SET_ID):
        _give_times(where, wanted.mtime_ns, faults)  # all that most files in a new folder lack
        return Given(faults[0]) if faults else ALL_GIVEN
    has_moved = False
    if rights.owners and not is_owner:
        is_owner = has_moved = _give_owner(where, wanted, faults)
    if wanted.xattrs:
        is_withheld = give_attributes(where, wanted.xattrs, rights, faults)
    if has_mode:
        if mode & SET_ID and not (rights.special and is_owner):
            mode &= ~SET_ID
            is_withheld = True
        if has_moved or wanted.xattrs or found.st_mode & _MODE_BITS != mode:
            _give_mode(where, mode, faults)
    _give_times(where, wanted.mtime_ns, faults)
    if faults or is_withheld:
        return Given("; ".join(faults), is_withheld)
    return ALL_GIVEN


def _give_mode(where: int | str, mode: int, faults: list[str]) -> None:
    try:
        os.chmod(where, mode)  # noqa: PTH101  # descriptor
    except OSError as error:
        faults.append(_fault("permissions", error))


def _give_times(where: int | str, mtime_ns: int, faults: list[str]) -> None:
    try:
        os.utime(where, ns=(mtime_ns, mtime_ns))
    except (OSError, OverflowError) as error:
        faults.append(_fault("times", error))


def give_attributes(
    where: int | str,
    attributes: Iterable[tuple[bytes, bytes]],
    rights: Rights,
    faults: list[str],
) -> bool:
    """Set attributes, add what failed to ``faults``; say whether privileged ones were left away."""
    is_withheld = False
    for name, value in attributes:
        if name.startswith(_PRIVILEGED) and not rights.special:
            is_withheld = True
            continue
        try:
            os.setxattr(where, name, value)
        except (OSError, ValueError) as error:
            faults.append(_fault(f"attribute {to_text(name)}", error))
    return is_withheld


def lacks_access_list(wanted: Metadata) -> bool:
    """Say whether an entry has no access list in the snapshot; an inherited one has to go."""
    return all(name != _ACCESS_ACL for name, _ in wanted.xattrs)


def foreign_attributes(
    where: int | str | bytes, wanted: Metadata, rights: Rights, *, follows: bool = True
) -> list[bytes]:
    """Return the names of what an entry has and the snapshot lacks, and a fresh one would not have.

    These are access lists, capabilities and ``user.*`` attributes. A capability that would not be
    given is foreign, too, whatever the snapshot says.

    Raises:
        OSError: If that cannot be known.
    """
    try:
        names = os.listxattr(where, follow_symlinks=follows)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EOPNOTSUPP}:
            return []
        raise
    if not names:
        return []
    own = {name for name, _ in wanted.xattrs if rights.special or name != _CAPABILITY}
    found = (os.fsencode(name) for name in names)
    return [
        name for name in found if name not in own and (name in _GRANTS or name.startswith(b"user."))
    ]


def remove_foreign(where: int, wanted: Metadata, rights: Rights, faults: list[str]) -> None:
    """Remove such attributes; add to ``faults`` what did not go."""
    try:
        names = foreign_attributes(where, wanted, rights)
    except OSError as error:
        faults.append(f"attributes cannot be listed: {error.strerror}")
        return
    for name in names:
        try:
            os.removexattr(where, name)
        except OSError as error:
            faults.append(f"attribute {to_text(name)} cannot be removed: {error.strerror}")


def _give_owner(where: int | str, wanted: Metadata, faults: list[str]) -> bool:
    # The number -1, whose other name is the limit, means "leave as it is" to the system.
    if not (0 <= wanted.uid < _ID_LIMIT and 0 <= wanted.gid < _ID_LIMIT):
        faults.append(f"owner {wanted.uid}:{wanted.gid} does not exist")
        return False
    try:
        os.chown(where, wanted.uid, wanted.gid)
    except OSError as error:
        faults.append(_fault(f"owner {wanted.uid}:{wanted.gid}", error))
        return False
    return True


def _fault(what: str, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"{what} cannot be set: {reason}"
