"""Passwords of repositories that this machine made and keeps; the server never sees them."""

import base64
import re
from collections.abc import Callable
from pathlib import Path

from backapp_core.errors import InvalidName
from backapp_core.secret_files import read_secret_file, write_private_file

FOLDER = "passwords"
_ID = re.compile(r"[0-9a-f]{32}")
_BYTES = 20
"""160 bits, 32 characters of base32."""
_GROUP = 4


def new_password(random_bytes: Callable[[int], bytes]) -> str:
    """Return a new password of 160 random bits, in groups that can be typed from paper."""
    # Nobody can tell 1 from l and 0 from o on paper; base32 has neither 0 nor 1.
    letters = base64.b32encode(random_bytes(_BYTES)).decode("ascii").lower()
    return "-".join(letters[place : place + _GROUP] for place in range(0, len(letters), _GROUP))


class Passwords:
    """One file per managed repository, which its owner alone can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, repository_id: str) -> str | None:
        """Return the password of a repository, None if this machine made none.

        Raises:
            InputError: If it cannot be read, or others may read it.
            InvalidName: If no repository has such an id.
        """
        path = self.path(repository_id)
        return read_secret_file(str(path)) if path.exists() else None

    def get_or_make(self, repository_id: str, random_bytes: Callable[[int], bytes]) -> str:
        """Return the password of a repository, making one that survives a power cut if need be.

        Raises:
            InputError: If it cannot be read or written, or others may read it.
            InvalidName: If no repository has such an id.
        """
        known = self.get(repository_id)
        if known is not None:
            return known
        made = new_password(random_bytes)
        write_private_file(self.path(repository_id), f"{made}\n")
        return made

    def path(self, repository_id: str) -> Path:
        """Return the file that holds, or would hold, the password of a repository.

        Raises:
            InvalidName: If no repository has such an id, which a server may claim.
        """
        if not _ID.fullmatch(repository_id):
            raise InvalidName("the id of a managed repository is 32 hex digits")
        return self._folder / repository_id
