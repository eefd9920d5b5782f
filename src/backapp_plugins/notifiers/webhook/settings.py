"""Who is told, and what of that cannot be."""

from urllib.parse import urlsplit

from attrs import frozen

from backapp_core.plugin_api import InvalidSettings

_LONGEST_TIMEOUT_SECONDS = 600


@frozen
class WebhookSettings:
    """Who is told, and how the receiver knows that we said it."""

    url: str
    """``https://`` or ``http://``; without user name and password."""
    secret_file: str
    """Path of a file with the shared secret on one line, readable by its owner only."""
    timeout_seconds: float = 30
    """Longest time that one delivery may take, from the connection to the end of the answer."""
    ca_file: str = ""
    """PEM file with the authorities to trust; empty: those of the system."""

    def __attrs_post_init__(self) -> None:
        faults = [("url", reason) for reason in [_fault_of(self.url)] if reason]
        if not self.secret_file:
            faults.append(("secret_file", "name a file"))
        if not 0 < self.timeout_seconds <= _LONGEST_TIMEOUT_SECONDS:
            faults.append(
                ("timeout_seconds", f"must be more than 0 and at most {_LONGEST_TIMEOUT_SECONDS}")
            )
        if faults:
            raise InvalidSettings("webhook notifier", faults)


def _fault_of(url: str) -> str:
    # The address itself is not repeated: what is wrong about it may be a password in it.
    if not url.isascii() or not url.isprintable() or " " in url:
        return "the address holds a space or another character that has no place in one"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "the address has no valid host or port"
    if parts.scheme not in {"http", "https"}:
        return "the address must begin with https:// or http://"
    if "@" in parts.netloc:
        return "the address must not hold a user name or password"
    if not parts.hostname or port == 0:
        return "the address has no valid host or port"
    return "the address must not have a part after #" if parts.fragment else ""
