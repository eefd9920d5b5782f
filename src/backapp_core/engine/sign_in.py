"""People prove who they are, and go again."""

import ipaddress
import threading
from contextlib import suppress
from datetime import timedelta

from attrs import frozen

from backapp_core.engine.passwords import (
    LONGEST,
    check_password,
    hash_password,
    is_password,
    needs_new_hash,
    nobodys_hash,
)
from backapp_core.engine.tokens import hash_of, new_token
from backapp_core.errors import InvalidName, NotSignedIn, TooManyAttempts
from backapp_core.model.users import Member, Session, User, check_email
from backapp_core.ports.fleet import Fleet, Login
from backapp_core.ports.surroundings import Surroundings
from backapp_core.settings import ServerSettings

MOST_ATTEMPTS = 10
"""Wrong passwords for one address, and from one client, before both have to wait."""
WINDOW_SECONDS = 900.0
_AT_ONCE = threading.BoundedSemaphore(2)
"""Of many guesses that arrive together, no more than that are looked at before one is counted."""
_IPV6_NETWORK_BITS = 64  # what one household is given


@frozen
class SignedIn:
    """Somebody came in."""

    token: str
    """What the browser shows from now on; the store has its hash only."""
    session: Session
    user: User


def sign_in(
    fleet: Fleet,
    surroundings: Surroundings,
    settings: ServerSettings,
    email: str,
    password: str,
    *,
    client: str,
    former_token: str = "",
) -> SignedIn:
    """Check a password and open a session, always a new one; that of ``former_token`` ends.

    An address that is unknown takes as long as a wrong password and is answered alike.

    Args:
        fleet: Knows the people.
        surroundings: Chance.
        settings: How long a session goes on.
        email: As it was typed.
        password: As it was typed.
        client: The network address that the request came from.
        former_token: What the browser showed so far.

    Raises:
        NotSignedIn: If the two do not belong together, or the account is switched off.
        TooManyAttempts: If there were too many wrong ones before; this one was not looked at.
    """
    login = _login(fleet, email)
    address = login.member.user.email if login else email.strip().lower()
    kept = login.password_hash if login else nobodys_hash()
    is_right = _is_right(fleet, kept, password, address, client)
    if login is None or not is_right:
        raise NotSignedIn("e-mail address and password do not belong together")
    _renew_hash(fleet, login, password)
    if former_token:
        fleet.close_session(hash_of(former_token))
    return open_session(fleet, surroundings, settings, login.member)


def open_session(
    fleet: Fleet, surroundings: Surroundings, settings: ServerSettings, member: Member
) -> SignedIn:
    """Let somebody in who has proved who they are."""
    now = fleet.now()
    session = Session(
        user_id=member.user.id,
        tenant_id=member.tenant_id,
        created_at=now,
        last_used_at=now,
        expires_at=now + timedelta(seconds=settings.session_seconds),
    )
    token = new_token(surroundings)
    fleet.open_session(hash_of(token), session)
    return SignedIn(token, session, member.user)


def sign_out(fleet: Fleet, token: str, user_id: str) -> None:
    """End a session."""
    fleet.close_session(hash_of(token))
    fleet.announce("people", user_id)


def change_password(
    fleet: Fleet, member: Member, former: str, chosen: str, *, keep_token: str, client: str
) -> None:
    """Change somebody's own password; sessions end but the one of ``keep_token``.

    Raises:
        NotSignedIn: If ``former`` is not the password so far.
        TooManyAttempts: If there were too many wrong ones before.
        InputError: If the chosen one would be guessed.
    """
    check_password(chosen, member.user.email)
    login = fleet.login(member.user.email)
    kept = login.password_hash if login else nobodys_hash()
    if not _is_right(fleet, kept, former, member.user.email, client):
        raise NotSignedIn("the present password is another one")
    users = fleet.tenant(member.tenant_id).users
    users.set_password(
        member.user.id,
        hash_password(chosen),
        keep_session=hash_of(keep_token) if keep_token else "",
    )
    fleet.announce("people", member.user.id)


def _is_right(fleet: Fleet, kept: str, password: str, address: str, client: str) -> bool:
    """Check a password unless there were too many wrong ones, and count it if it is wrong.

    Raises:
        TooManyAttempts: If there were.
    """
    by_address = f"email:{hash_of(address)}"
    keys = (f"client:{_network_of(client)}", by_address)
    with _AT_ONCE:
        for key in keys:
            _check_attempts(fleet, key)
        is_right = is_password(kept, password[: LONGEST + 1])
        if not is_right:
            for key in keys:
                fleet.note_failure(key, window_seconds=WINDOW_SECONDS)
    if is_right:
        # That of the client stays: whoever guesses could start afresh with an account of theirs.
        fleet.forget_failures(by_address)
    return is_right


def _login(fleet: Fleet, email: str) -> Login | None:
    with suppress(InvalidName):
        return fleet.login(check_email(email))
    return None


def _renew_hash(fleet: Fleet, login: Login, password: str) -> None:
    # Only now is the password known; sessions end, which is as good as it is rare.
    if needs_new_hash(login.password_hash):
        member = login.member
        fleet.tenant(member.tenant_id).users.set_password(member.user.id, hash_password(password))


def _check_attempts(fleet: Fleet, key: str) -> None:
    if fleet.failures(key, window_seconds=WINDOW_SECONDS) >= MOST_ATTEMPTS:
        raise TooManyAttempts(
            f"too many wrong passwords; try again in {WINDOW_SECONDS / 60:.0f} minutes",
            wait_seconds=WINDOW_SECONDS,
        )


def _network_of(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
    return str(address)
