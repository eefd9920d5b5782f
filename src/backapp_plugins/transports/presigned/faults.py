"""What a destination's refusal means."""

from http import HTTPStatus

from backapp_core.plugin_api import (
    AccessRefused,
    StorageFull,
    TransferCut,
    TransportError,
    TransportUnavailable,
)

_PASSING = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,  # another request for the same name is under way
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
_SERVER_FAULTS = 500
_FULL = {"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull"}
_DAMAGED = {"", "BadDigest", "IncompleteBody", "RequestTimeout", "XAmzContentSHA256Mismatch"}
"""What is said with a 400 of bodies that arrived otherwise than they were sent, or too slowly."""


class ConnectionLost(Exception):  # states a fact, as leaves do
    """A request was not answered; never leaves this package."""

    def __init__(self, message: str, *, is_hopeless: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_hopeless = is_hopeless
        """Whether trying again is of no use."""


def is_full(status: int, code: str) -> bool:
    """Say whether there is no room."""
    return status == HTTPStatus.INSUFFICIENT_STORAGE or code in _FULL


def is_passing(status: int, code: str) -> bool:
    """Say whether trying again, a little later, may succeed."""
    if is_full(status, code):
        return False
    return status in _PASSING or status >= _SERVER_FAULTS or _is_damage(status, code)


def refusal(what: str, status: int, code: str) -> TransportError:
    """Return the error for an answer that does not pass, about ``what``."""
    said = f"{status} {code}".strip()
    if is_full(status, code):
        return StorageFull(f"there is no room for {what} ({said})")
    if _is_damage(status, code):
        return TransferCut(f"{what} did not arrive as it was sent, again and again ({said})")
    if status == HTTPStatus.FORBIDDEN:
        return AccessRefused(
            f"the bucket refuses what the server signed for {what} ({said}); if this goes on, "
            "look at the server's keys and at both clocks"
        )
    if is_passing(status, code):
        return TransportUnavailable(f"the bucket does not take or give {what} ({said})")
    return AccessRefused(f"the bucket refuses {what} ({said})")


def _is_damage(status: int, code: str) -> bool:
    return status == HTTPStatus.BAD_REQUEST and code in _DAMAGED
