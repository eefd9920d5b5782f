r"""Patterns as people write them, turned into rules that are decided directory by directory.

The language is that of ``.gitignore``, read against absolute paths:

* ``*.tmp``, ``cache``: the name of anything, at any depth.
* ``/home/*/.cache``: from the root of the file system.
* ``build/output``: these names in a row, at any depth (git would anchor it; here there is no folder
  to anchor it to, and restic reads it so as well).
* ``*`` and ``?`` stand for characters but ``/``, ``[a-z]``, ``[!a-z]``, ``[[:digit:]]`` for one of
  some; ``**`` as a whole part stands for any number of directories, at the end for all that is
  inside; ``\`` takes the meaning from the next character.
* A final ``/`` means directories only. A leading ``!`` keeps what earlier patterns left out.

The last pattern that matches decides. A directory that is left out is not entered, so nothing below
it can be kept. A character is a Unicode character; a byte that is not UTF-8 counts as one.
"""

import re
from collections.abc import Iterable

from attrs import evolve, frozen

from backapp_core.plugin_api import InvalidPattern, to_line, to_text, without_trailing_blanks

_ANY_NAME = "[^/]*"
_ANY_FOLDERS = "(?:/[^/]+)*"
_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\ \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\ \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


@frozen
class Rule:
    """One pattern, split into where a thing must be and what it must be called."""

    folder: str | None
    """Regular expression of the directories whose direct contents it speaks of (the top is the
    empty text); None: of all."""
    name: str
    """Regular expression of names."""
    part: str
    """Last part as it was written."""
    is_exclude: bool
    needs_directory: bool
    ignores_case: bool = False


def parse_pattern(
    text: str, *, origin: str, is_exclude: bool = True, ignores_case: bool = False
) -> Rule:
    """Return the rule that a pattern stands for.

    Args:
        text: The pattern, without anything around it.
        origin: Where it stands, for messages: ``exclude pattern``, ``line 3 of '/etc/excludes'``.
        is_exclude: Whether it leaves out, unless it begins with ``!``, or keeps.
        ignores_case: Whether upper and lower case are the same.

    Raises:
        InvalidPattern: If it is malformed or could never match.
    """
    try:
        rule = _parse(text, is_exclude=is_exclude)
    except ValueError as error:
        shown = to_text(text.encode("utf-8", "backslashreplace"))
        reason = to_line(str(error))
        raise InvalidPattern(f"{origin} '{shown}' cannot be used: {reason}") from None
    return evolve(rule, ignores_case=ignores_case)


def parse_pattern_file(content: bytes, *, path: bytes) -> list[Rule]:
    """Return the rules of a pattern file: one per line; empty ones and ``# comments`` say nothing.

    Raises:
        InvalidPattern: If one or more patterns are malformed; names every such line.
    """
    rules: list[Rule] = []
    faults: list[str] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        text = without_trailing_blanks(line.removesuffix(b"\r").decode("utf-8", "surrogateescape"))
        if text and not text.startswith("#"):
            try:
                rules.append(
                    parse_pattern(text, origin=f"'{to_text(path)}' line {number}: pattern")
                )
            except InvalidPattern as error:
                faults.append(error.message)
    if faults:
        raise InvalidPattern("; ".join(faults))
    return rules


def _parse(text: str, *, is_exclude: bool) -> Rule:
    if text.startswith("!"):
        if not is_exclude:
            raise ValueError(
                r"an include pattern does not begin with '!' (write '\!' for a name that does)"
            )
        is_exclude, text = False, text[1:]
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    body = text.removesuffix("/")
    parts = body.removeprefix("/").split("/")
    if not all(parts):
        raise ValueError("it is empty" if not body else "it has an empty part")
    if bad := next((part for part in parts if part in {".", ".."}), None):
        raise ValueError(f"no path that is stored has a part '{bad}'; write it without")
    folders = [*([] if body.startswith("/") else ["**"]), *parts[:-1]]
    part = parts[-1]
    if part == "**":
        folders.append("**")
    return Rule(
        folder=_folder_expression(folders),
        name=_name_expression(part),
        part=part,
        is_exclude=is_exclude,
        needs_directory=text.endswith("/"),
    )


def _folder_expression(parts: Iterable[str]) -> str | None:
    expressions: list[str] = []
    for part in parts:
        expression = _ANY_FOLDERS if part == "**" else "/" + _name_expression(part)
        if expression != _ANY_FOLDERS or expressions[-1:] != [_ANY_FOLDERS]:
            expressions.append(expression)
    return None if expressions == [_ANY_FOLDERS] else "".join(expressions)


def _name_expression(part: str) -> str:
    """Translate one part of a pattern; what it matches never holds a ``/``.

    Raises:
        ValueError: If it is malformed.
    """
    found: list[str] = []
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            if found[-1:] != [_ANY_NAME]:
                found.append(_ANY_NAME)
        elif character == "?":
            found.append("[^/]")
        elif character == "[":
            expression, position = _bracket(part, position)
            found.append(expression)
        elif character == "\\":
            if position == len(part):
                raise ValueError("it ends in a single backslash")
            found.append(re.escape(part[position]))
            position += 1
        else:
            found.append(re.escape(character))
    return "".join(found)


def _bracket(part: str, position: int) -> tuple[str, int]:
    """Translate a bracket expression; return it and where the pattern goes on.

    Raises:
        ValueError: If it is malformed.
    """
    is_negated = part[position : position + 1] in {"!", "^"}
    position += is_negated
    members: list[str] = []
    is_first = True
    while is_first or part[position : position + 1] != "]":
        is_first = False
        if part.startswith("[:", position):
            end = part.find(":]", position)
            name = part[position + 2 : end] if end > 0 else ""
            if name not in _POSIX_CLASSES:
                raise ValueError(f"'[:{name}:]' is no class of characters")
            members.append(_POSIX_CLASSES[name])
            position = end + 2
            continue
        low, position = _member(part, position)
        if part[position : position + 1] == "-" and part[position + 1 : position + 2] not in {
            "",
            "]",
        }:
            high, position = _member(part, position + 1)
            if high < low:
                raise ValueError(f"the range '{low}-{high}' is the wrong way round")
            members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            members.append(re.escape(low))
    return f"(?!/)[{'^' if is_negated else ''}{''.join(members)}]", position + 1


def _member(part: str, position: int) -> tuple[str, int]:
    if part[position : position + 1] == "\\":
        position += 1
    if position >= len(part):
        raise ValueError("a '[' is not closed")
    return part[position], position + 1
