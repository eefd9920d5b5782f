"""What errors of a PostgreSQL server mean, each in one sentence."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from backapp_core.plugin_api import StoreUnavailable, to_line

_SECRET = re.compile(r"(password\s*=\s*)\S+", re.IGNORECASE)
_LONGEST_SHOWN = 300


@contextmanager
def translated(shown: str) -> Generator[None, None, None]:
    """Turn what the driver raises into one sentence about the database ``shown``.

    Raises:
        StoreUnavailable: Instead of the driver's error.
    """
    try:
        yield
    except (SQLAlchemyError, psycopg.Error, OSError) as error:
        raise StoreUnavailable(f"the store {shown} {reason_of(error)}") from error


_BY_STATE = {
    "28P01": "refuses the password",
    "28000": "lets this user not in",
    "3D000": "does not exist; create the database first",
    "42501": "may not be changed by this user; its owner has to open it once, or grant the rights",
    "53100": "cannot be written: no space left on its server",
    "53300": "takes no more connections",
    "57P01": "was shut down",
    "57P02": "was shut down",
    "57P03": "is starting up or shutting down",
    "25006": "may only be read",
    "40001": "is busy: others changed the same at the same time",
    "40P01": "is busy: others changed the same at the same time",
    "55P03": "is busy: another holds what is to be changed",
}
# Where connecting fails, the driver hands on no more than words.
_BY_WORDS = (
    (re.compile(r"password authentication failed"), _BY_STATE["28P01"]),
    (re.compile(r"no password supplied"), "wants a password; write it into the address"),
    (re.compile(r"pg_hba\.conf|peer authentication"), _BY_STATE["28000"]),
    (re.compile(r'role ".*" does not exist'), "knows no such user"),
    (re.compile(r'database ".*" does not exist'), _BY_STATE["3D000"]),
    (re.compile(r"too many clients|too many connections|remaining connection"), _BY_STATE["53300"]),
    (re.compile(r"starting up|shutting down"), _BY_STATE["57P03"]),
    (
        re.compile(r"Connection refused|No such file or directory"),
        "cannot be reached: no server there",
    ),
    (
        re.compile(r"could not translate host name|resolve host|Name or service not known"),
        "cannot be reached: no such host",
    ),
    (re.compile(r"timeout expired|timed out"), "cannot be reached: its server does not answer"),
    (
        re.compile(
            r"server closed the connection|terminating connection|connection.*(lost|closed)"
        ),
        "lost the connection",
    ),
)


def reason_of(error: BaseException) -> str:
    """Return the rest of a sentence that begins with the name of the store."""
    cause: Any = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    if state in _BY_STATE:
        return _BY_STATE[state]
    words = _SECRET.sub(r"\1...", " ".join(str(cause).split()))
    for pattern, reason in _BY_WORDS:
        if pattern.search(words):
            return reason
    return f"does not answer: {to_line(words[:_LONGEST_SHOWN])}"
