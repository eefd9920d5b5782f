"""Long lists, a part at a time: how much of one is asked for, and whether more follows."""

from collections.abc import Sequence
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from litestar.params import QueryParameter

OF_A_PAGE = 50
"""How many rows a page of the dashboard shows of a list."""
OF_A_PART = 100
"""How many things the interface answers with if nothing else is asked for."""
MOST_OF_A_PART = 200

Limit = Annotated[int, QueryParameter(ge=1, le=MOST_OF_A_PART)]
"""How many things the interface is asked for."""
ReceiptNumber = Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1)]
"""The number of a receipt, or none; a database takes no larger ones."""
EventNumber = Annotated[int, QueryParameter(ge=0, le=2**31)]
"""The number of an event of a run, 0 for the beginning; a database takes no larger ones."""

_T = TypeVar("_T")


def address_of(path: str, **query: str) -> str:
    """Return where a part of a list is shown."""
    said = urlencode({name: value for name, value in query.items() if value})
    return f"{path}?{said}" if said else path


def cut(found: Sequence[_T], limit: int) -> tuple[Sequence[_T], _T | None]:
    """Return the first ``limit``, and the last of them if there are more, else None.

    Whoever looks for ``limit + 1`` learns that way whether something follows.
    """
    part = found[:limit]
    return part, part[-1] if len(found) > limit else None
