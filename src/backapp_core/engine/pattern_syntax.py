"""What a well-formed pattern is, so that a typing error is refused and does not choose nothing.

The rules are those that the ``files`` scanner has for backups; a pattern that may not be backed up
with may not be restored with either. Plugins and the core do not know one another, so they stand
here again; a test holds the two against each other.
"""

import re

from backapp_core.errors import InvalidPattern
from backapp_core.model.names import to_line

_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": "\t ",
    "cntrl": "\0-\x1f\x7f",
    "digit": "0-9",
    "graph": '"-~!',  # a '!' at the beginning would turn it round
    "lower": "a-z",
    "print": '"-~ !',
    "punct": ":-@!-.{-~[-`",  # a slash divides, and is part of no name
    "space": "\t-\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_BRACKET = re.compile(r"\\.|\[[!^]?\]?(?:\[:[a-z]+:\]|\\.|[^]\\])*\]", re.DOTALL)
_CLASS = re.compile(r"\[:([a-z]+):\]")


def check_pattern(text: str, *, is_exclude: bool = True, purpose: str = "") -> None:
    """Refuse a pattern that is malformed or could never match.

    White space alone is refused as well: at the end of a pattern it does not count here.

    Args:
        text: The pattern.
        is_exclude: Whether it leaves out, so that one with ``!`` takes that back.
        purpose: What the pattern is called if it is refused; by default what it does.

    Raises:
        InvalidPattern: Says which, and why.
    """
    try:
        _check(text, is_exclude=is_exclude)
    except ValueError as error:
        name = purpose or ("exclude pattern" if is_exclude else "include pattern")
        raise InvalidPattern(
            f"{name} '{to_line(text)}' cannot be used: {to_line(str(error))}"
        ) from None


def without_classes(text: str) -> str:
    """Return a well-formed pattern with ranges for ``[:digit:]`` and the like.

    pathspec does not know these, and warns of a ``[`` that stands first among brackets.
    """
    return _BRACKET.sub(_plain_bracket, text)


def _plain_bracket(match: re.Match[str]) -> str:
    if match[0] == "[[]":
        return r"\["
    if match[0].startswith("\\"):
        return match[0]
    return "[" + _CLASS.sub(lambda found: _CLASSES[found[1]], match[0][1:])


def _check(text: str, *, is_exclude: bool) -> None:
    if text.startswith("!") and not is_exclude:
        raise ValueError(
            r"an include pattern does not begin with '!' (write '\!' for a name that does)"
        )
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    body = text.removeprefix("!").removesuffix("/")
    parts = body.removeprefix("/").split("/")
    if not body.strip():
        raise ValueError("it is empty")
    if not all(parts):
        raise ValueError("it has an empty part")
    if bad := next((part for part in parts if part in {".", ".."}), None):
        raise ValueError(f"no path that is stored has a part '{bad}'; write it without")
    for part in parts:
        _check_part(part)


def _check_part(part: str) -> None:
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "[":
            position = _after_bracket(part, position)
        elif character == "\\":
            if position == len(part):
                raise ValueError("it ends in a single backslash")
            position += 1


def _after_bracket(part: str, position: int) -> int:
    """Return where a pattern goes on after the bracket expression that begins at ``position``.

    Raises:
        ValueError: If it is malformed.
    """
    position += part[position : position + 1] in {"!", "^"}
    is_first = True
    while is_first or part[position : position + 1] != "]":
        is_first = False
        position = (
            _after_class(part, position)
            if part.startswith("[:", position)
            else _after_range(part, position)
        )
    return position + 1


def _after_class(part: str, position: int) -> int:
    end = part.find(":]", position)
    name = part[position + 2 : end] if end > 0 else ""
    if name not in _CLASSES:
        raise ValueError(f"'[:{name}:]' is no class of characters")
    return end + 2


def _after_range(part: str, position: int) -> int:
    low, position = _member(part, position)
    if part[position : position + 1] != "-" or part[position + 1 : position + 2] in {"", "]"}:
        return position
    high, position = _member(part, position + 1)
    if high < low:
        raise ValueError(f"the range '{low}-{high}' is the wrong way round")
    return position


def _member(part: str, position: int) -> tuple[str, int]:
    """Return a character of a bracket expression, and where it goes on.

    Raises:
        ValueError: If the pattern ends before that.
    """
    position += part[position : position + 1] == "\\"
    if position >= len(part):
        raise ValueError("a '[' is not closed")
    return part[position], position + 1
