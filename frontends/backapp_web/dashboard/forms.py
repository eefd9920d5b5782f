"""What forms of pages have in common: their fields, and where one goes afterwards."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from litestar import MediaType, Response
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg

from backapp_core.errors import InputError

Form: TypeAlias = Annotated[dict[str, Any], BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)]
"""What a browser sends of a form."""


def field(form: Mapping[str, Any], name: str) -> str:
    """Return what was entered; empty if the field is not there.

    Raises:
        InputError: If it was sent twice, or holds what nobody can type.
    """
    value = form.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise InputError(f"the field '{name}' cannot be used as it was sent")
    return value


def fields(form: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return everything that was entered or chosen under a name that may be there many times.

    Raises:
        InputError: If it holds what nobody can type.
    """
    value = form.get(name, ())
    many = [value] if isinstance(value, str) else list(value)
    if any(not isinstance(one, str) or "\0" in one for one in many):
        raise InputError(f"the field '{name}' cannot be used as it was sent")
    return tuple(many)


def lines(text: str) -> tuple[str, ...]:
    """Return the lines of a large field, without those that are blank."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def going_to(address: str, *, cookies: list[Any] | None = None) -> Response[bytes]:
    """Answer with another page to be loaded."""
    return Response(
        b"",
        status_code=303,
        headers={"location": address},
        media_type=MediaType.HTML,
        cookies=cookies,
    )


def own_address(text: str) -> str:
    """Return an address of ours to go on to; the first page for anybody else's."""
    is_own = (
        text.startswith("/")
        and not text.startswith(("//", "/\\"))
        and text.isprintable()
        and "\\" not in text
    )
    return text if is_own else "/"
