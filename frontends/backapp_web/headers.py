"""Headers that every answer carries, also that of an error."""

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

_CONTENT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "content-security-policy": _CONTENT,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Without any, browsers call the origin of a form "null", and nobody could tell it from another.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_ONE_YEAR = "max-age=31536000"
_ASSETS = "/assets/"


async def add_headers(message: Message, scope: Scope) -> None:
    """Add them to an answer that begins."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    for name, value in _ALWAYS.items():
        headers[name] = value
    if scope["scheme"] == "https":
        headers["strict-transport-security"] = _ONE_YEAR
    # What is for one person is kept by no cache in between; our files change with the version only.
    is_asset = scope["path"].startswith(_ASSETS) and message["status"] == 200  # noqa: PLR2004  # HTTP
    headers["cache-control"] = "public, max-age=3600" if is_asset else "no-store"
