"""Addresses of repositories that a server manages: ``backapp:`` and an id."""

import re

from attrs import frozen

from backapp_core.plugin_api import InvalidAddress

_ADDRESS = re.compile(r"backapp:([0-9a-f]{32})")


@frozen
class ManagedAddress:
    """Which repository."""

    repository_id: str
    """32 hex digits, as the server has it."""

    @property
    def text(self) -> str:
        """The address as people know it."""
        return f"backapp:{self.repository_id}"


def parse_address(address: str) -> ManagedAddress:
    """Read ``backapp:ID``.

    Raises:
        InvalidAddress: If the id is not 32 hex digits.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise InvalidAddress(
            "a repository that a server manages has the address 'backapp:' and 32 hex digits"
        )
    return ManagedAddress(match[1])
