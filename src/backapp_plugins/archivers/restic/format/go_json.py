r"""Strings as Go writes them into JSON, and names of files as restic writes them into strings.

A name is quoted twice. First as Go's ``strconv.Quote`` does: what is not printable, and every byte
that is no UTF-8, becomes an escape of printable characters (``\n``, ``\xff``, ``\u200b``). Then, as
every string, for JSON: ``encoding/json`` escapes ``<``, ``>``, ``&`` and the two line separators of
Unicode, too, and writes the six characters ``\ufffd`` for a byte that is no UTF-8. What exactly is
written matters because a tree is known by its hash: equal bytes are stored once, whoever wrote
them.
"""

import re

_PLAIN_NAME = re.compile(rb"[ !#-%'-.0-;=?-\[\]-~]+").fullmatch
"""Printable ASCII that neither way of quoting touches, without ``/``."""
_PLAIN_STRING = re.compile("[ !#-%'-;=?-\\[\\]-\u2027\u202a-\ud7ff\ue000-\U0010ffff]*").fullmatch
"""What JSON lets stand, in Go's way of writing it."""
_SHORT = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}
_RAW_OF_SHORT = {text.encode(): mark.encode() for mark, text in _SHORT.items()} | {
    b"\\": b"\\",
    b'"': b'"',
}
_NAME_ESCAPE = re.compile(
    rb"""\\(?:(?P<short>[abfnrtv\\"])|x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})
    |u(?P<rune>[0-9a-fA-F]{4})|U(?P<long_rune>[0-9a-fA-F]{8}))|(?P<stray>[\\"\n])""",
    re.VERBOSE,
)
_JSON_SPECIAL = re.compile(rb"\\.|[<>&]|\xe2\x80[\xa8\xa9]", re.DOTALL)
_JSON_ESCAPES = {
    b"<": rb"\u003c",
    b">": rb"\u003e",
    b"&": rb"\u0026",
    b"\xe2\x80\xa8": rb"\u2028",
    b"\xe2\x80\xa9": rb"\u2029",
    rb"\b": rb"\u0008",
    rb"\f": rb"\u000c",
}
_STRING_ESCAPES = str.maketrans(
    {chr(code): f"\\u{code:04x}" for code in (*range(0x20), *b"<>&", 0x2028, 0x2029)}
    | {"\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\"}
    | dict.fromkeys(map(chr, range(0xD800, 0xE000)), r"\ufffd")
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair, which is fine
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_LAST_CHARACTER = 0x10FFFF


def name_text(name: bytes) -> str:
    """Return what stands between the quotes of a node's name in JSON.

    Of a path it is the last part: the root of a backup is called by its whole path.

    Whether a character is printable is asked of Python, whose Unicode may be newer or older than
    that of the restic at hand; both spellings mean the same name.
    """
    if _PLAIN_NAME(name):
        return name.decode("ascii")
    last = name.rpartition(b"/")[2].decode("utf-8", "surrogateescape")
    if last.isprintable() and "\\" not in last and '"' not in last:
        return string_text(last)
    return string_text("".join(map(_quote, last)))


def name_of(text: str) -> bytes:
    r"""Return the name that a node's ``name`` means once JSON is decoded.

    Raises:
        ValueError: If it is not quoted as restic would accept it.
    """
    raw = text.encode()
    return _NAME_ESCAPE.sub(_unquote, raw) if b"\\" in raw or b'"' in raw or b"\n" in raw else raw


def string_text(string: str) -> str:
    r"""Return what stands between the quotes of any string in JSON.

    Bytes that are no UTF-8 are expected as surrogates (``surrogateescape``) and are lost. Backspace
    and form feed are written as Go did before its version 1.22.
    """
    return string if _PLAIN_STRING(string) else string.translate(_STRING_ESCAPES)


def valid_text(text: str) -> str:
    """Return ``text`` with U+FFFD for each surrogate, as Go has it after decoding."""
    return _SURROGATE.sub("\ufffd", text)


def is_utf8(raw: bytes) -> bool:
    """Say whether ``raw`` survives as a string in JSON."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def escaped(json: bytes) -> bytes:
    """Return JSON as Go would have escaped it; the strings in it must be valid."""
    return _JSON_SPECIAL.sub(lambda match: _JSON_ESCAPES.get(match[0], match[0]), json)


def mended(json: bytes) -> bytes:
    """Return JSON that decoders take, with U+FFFD for what Go would read as that.

    These are bytes that are no UTF-8 and escaped surrogates without their other half.
    """
    return _SURROGATE_ESCAPE.sub(
        lambda match: "\ufffd".encode() if match["lone"] else match[0],
        valid_text(json.decode("utf-8", "surrogateescape")).encode(),
    )


def _quote(character: str) -> str:
    if character in _SHORT:
        return "\\" + _SHORT[character]
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004  # what stands for a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:  # noqa: PLR2004  # ASCII
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004  # four digits


def _unquote(match: re.Match[bytes]) -> bytes:
    group, value = match.lastgroup, match[match.lastgroup or 0]
    if group == "short":
        return _RAW_OF_SHORT[value]
    if group == "hex":
        return bytes([int(value, 16)])
    if group == "octal" and int(value, 8) <= 0xFF:  # noqa: PLR2004  # one byte
        return bytes([int(value, 8)])
    if group in {"rune", "long_rune"} and int(value, 16) <= _LAST_CHARACTER:
        return chr(int(value, 16)).encode()  # refuses surrogates, as Go does
    raise ValueError(f"'{match.string.decode()}' is no quoted name")
