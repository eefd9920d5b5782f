"""Gets keys from where a person keeps them, once they are needed; never shows them."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from backapp_cli.assemble import Secret
from backapp_core.engine.keys import keys_from
from backapp_core.errors import InputError, WrongPassword
from backapp_core.ports.surroundings import Keys


def keys(
    secret: Secret,
    identity_files: tuple[str, ...],
    *,
    asking: Callable[[], AbstractContextManager[None]],
    is_new: bool = False,
    may_ask: bool = True,
) -> Keys:
    """Return keys whose password is got once, when it is first asked for, and remembered.

    Args:
        secret: Where the password is kept; if nowhere, it is asked for on the terminal.
        identity_files: Paths of age identity files.
        asking: Entered while the terminal is used (a progress bar steps aside).
        is_new: Whether a password is being chosen, which is then asked for twice.
        may_ask: Whether the terminal may be used at all.

    Raises:
        InputError: If an identity file does not exist.
    """
    paths = tuple(Path(name).expanduser() for name in identity_files)
    for path in paths:
        if not path.is_file():
            raise InputError(f"identity file {path} does not exist or is no file")
    known: list[str] = []

    def prompted() -> str:
        if not may_ask or not sys.stdin.isatty():
            raise WrongPassword(
                "a password is needed and there is no terminal to ask on; "
                "give --password-file, --password-command or $BACKAPP_PASSWORD"
            )
        with asking():
            return _ask(is_new)

    def password() -> str:
        if not known:
            known.append(_stored(secret) or prompted())
        return known[0]

    return Keys(password=password, identity_files=paths)


def _stored(secret: Secret) -> str:
    if secret.value:
        return secret.value
    stored = keys_from(
        password_file=str(Path(secret.file).expanduser()) if secret.file else "",
        password_command=secret.command,
    )
    return stored.password() if stored.password else ""


def _ask(is_new: bool) -> str:
    import getpass

    try:
        password = getpass.getpass("choose a password: " if is_new else "enter password: ")
        if password and is_new and getpass.getpass("enter it again: ") != password:
            raise InputError("the two passwords differ; nothing was changed")
    except EOFError:
        password = ""
    if not password:
        raise WrongPassword("no password was entered")
    return password
