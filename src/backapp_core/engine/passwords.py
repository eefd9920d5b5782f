"""Passwords of people: which are taken, and how they are kept and checked."""

import threading
from functools import cache
from typing import Any

from backapp_core.errors import InputError

SHORTEST, LONGEST = 8, 1000
"""Characters; nothing is cut off."""

_AT_ONCE = threading.BoundedSemaphore(2)
"""A hash takes 19 MiB and a while: many sign-ins at once must not take the server's memory."""

# What is tried first wherever passwords are guessed, and is long enough not to be refused for that.
_WORDS = """
    password password1 password12 password123 password1234 passw0rd p@ssw0rd p@ssword passwort
    passwort1 12345678 123456789 1234567890 12345678910 123456789a 87654321 987654321 0987654321
    11111111 111111111 1111111111 00000000 000000000 0000000000 22222222 55555555 66666666 77777777
    88888888 99999999 12341234 11223344 1122334455 12344321 123123123 123321123 147258369 1q2w3e4r
    1q2w3e4r5t 1qaz2wsx 1qazxsw2 q1w2e3r4 qwer1234 qwertyui qwertyuiop qwerty12 qwerty123
    qwerty1234 qwertz123 qwertzuiop asdfghjk asdfghjkl asdf1234 zxcvbnm1 zxcvbnm123 zaq12wsx
    abcd1234 abc12345 abc123456 abcdefgh abcdefghi a1234567 a12345678 aa123456 aaaaaaaa
    iloveyou iloveyou1 sunshine sunshine1 princess princess1 football football1 baseball baseball1
    basketball superman superman1 starwars startrek trustno1 whatever computer internet changeme
    changeme1 welcome1 welcome12 welcome123 letmein1 letmein123 admin123 admin1234 administrator
    adminadmin rootroot root1234 testtest test1234 secret12 secret123 default1 guest123 master12
    michelle jennifer jordan23 liverpool chelsea1 arsenal1 charlie1 michael1 jessica1 pokemon1
    samantha victoria elizabeth mercedes corvette dolphins diamonds butterfly chocolate corvette1
    midnight redskins steelers scorpion hardcore passport password2 password3 password! monkey123
    dragon123 shadow123 freedom1 mustang1 blink182 alexander benjamin nicholas hello123 helloworld
    backapp1 backapp123 backupbackup backup123 backup1234
"""
_TRIED_FIRST = frozenset(_WORDS.split())


def check_password(password: str, email: str = "") -> None:
    """Refuse a password that somebody chooses if it would be guessed.

    Raises:
        InputError: If it is shorter than 8 characters, longer than 1,000, among those that are
            tried first, one character over and over, or the e-mail address.
    """
    if len(password) < SHORTEST:
        raise InputError(f"a password has at least {SHORTEST} characters, better 15")
    if len(password) > LONGEST:
        raise InputError(f"a password has at most {LONGEST:,} characters")
    lowered = password.lower()
    own = {email.lower(), email.lower().partition("@")[0]} - {""}
    if lowered in _TRIED_FIRST or lowered in own or len(set(lowered)) == 1:
        raise InputError("this password is among the first that are tried; choose another")


def hash_password(password: str) -> str:
    """Return what is kept of a password: argon2id with a salt of its own."""
    with _AT_ONCE:
        return str(_hasher().hash(_encoded(password)))


def is_password(kept: str, password: str) -> bool:
    """Say whether ``password`` is the one that `hash_password` made ``kept`` of."""
    from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415  # servers only

    with _AT_ONCE:
        try:
            return bool(_hasher().verify(kept, _encoded(password)))
        except (VerificationError, InvalidHashError):
            return False


def needs_new_hash(kept: str) -> bool:
    """Say whether ``kept`` is weaker than what would be made today."""
    return bool(_hasher().check_needs_rehash(kept))


@cache
def nobodys_hash() -> str:
    """Return what no password is kept as, to spend the time that checking one takes."""
    return hash_password("nobody has this password")


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher, Type  # noqa: PLC0415  # servers only

    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
