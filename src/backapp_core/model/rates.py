"""How fast bytes may go, as people write it: ``500`` and ``2M`` as in restic, none at all."""

import re

from attrs import field, frozen, validators
from typing_extensions import override

from backapp_core.errors import InputError
from backapp_core.model.names import to_line
from backapp_core.model.quantities import size_from_text

_KIB = 1024
_BARE = re.compile(r"\d+(?:\.\d+)?")
_PER_SECOND = re.compile(r" */ *s$")


@frozen
class Rate:
    """So many bytes a second at most; without a number, as many as come."""

    bytes_per_second: int | None = field(
        default=None, validator=validators.optional(validators.ge(_KIB))
    )
    """At least 1024; None for no limit."""

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read ``500`` (KiB a second), ``500K``, ``2M`` or ``1.5 MiB/s``; ``0`` is no limit.

        Raises:
            InputError: If ``text`` is no rate, or less than 1 KiB a second.
        """
        said = _PER_SECOND.sub("", text.strip())
        count = size_from_text(f"{said}K" if _BARE.fullmatch(said) else said)
        if count is None:
            raise InputError(
                f"'{to_line(text)}' is no rate; write it like 500 (KiB a second), 2M or 1.5G,"
                " or 0 for no limit"
            )
        if 0 < count < _KIB:
            raise InputError(f"'{to_line(text)}' is less than 1 KiB a second; 0 is no limit")
        return cls(count or None)

    @override
    def __str__(self) -> str:
        count = self.bytes_per_second or 0
        return f"{count}B" if count % _KIB else f"{count // _KIB}K"
