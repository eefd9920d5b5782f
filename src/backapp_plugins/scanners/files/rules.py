"""Which names of a directory the rules leave out; made for speed.

A rule says separately where a thing must be and what it must be called. So the places are looked at
once per directory, and what remains for each name is one set, one tuple of endings and one regular
expression, shared by all directories that the same rules speak of.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from attrs import frozen

from backapp_plugins.scanners.files.patterns import Rule

Test = Callable[[str], bool]
_MAGIC = re.compile(r"[*?\[\\]")


@frozen
class NameTests:
    """What is left out of one directory; None instead of a test that would never say yes."""

    excludes_file: Test | None
    """Asked for everything but directories."""
    excludes_directory: Test | None


class Rules:
    """All rules of a scanner, the last one that matches being the one that counts."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._everywhere = tuple(rule.folder is None for rule in self._rules)
        self._folders = tuple(_whole(rule.folder, rule) for rule in self._rules)
        self._by_choice: dict[tuple[bool, ...], NameTests] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def tests_in(self, folder: str) -> NameTests:
        """Return the tests for the direct contents of a directory, named by its absolute path."""
        path = "" if folder == "/" else folder
        choice = tuple(
            everywhere or folders(path) is not None
            for everywhere, folders in zip(self._everywhere, self._folders, strict=True)
        )
        tests = self._by_choice.get(choice)
        if tests is None:
            chosen = [rule for rule, counts in zip(self._rules, choice, strict=True) if counts]
            tests = NameTests(
                excludes_file=_decision([rule for rule in chosen if not rule.needs_directory]),
                excludes_directory=_decision(chosen),
            )
            self._by_choice[choice] = tests
        return tests


def _whole(expression: str | None, rule: Rule) -> Callable[[str], object]:
    flags = re.IGNORECASE if rule.ignores_case else re.NOFLAG
    return re.compile(expression or "", flags).fullmatch


def _decision(rules: Sequence[Rule]) -> Test | None:
    """Return a test that says whether a name is left out."""
    groups = [
        (is_exclude, _any_of(list(members)))
        for is_exclude, members in groupby(rules, key=lambda rule: rule.is_exclude)
    ]
    if groups and not groups[0][0]:
        del groups[0]  # Keeping what nobody has left out yet says nothing.
    if not groups:
        return None
    if len(groups) == 1:
        return groups[0][1]
    groups.reverse()

    def last_word(name: str) -> bool:
        return next((is_exclude for is_exclude, matches in groups if matches(name)), False)

    return last_word


def _any_of(rules: Sequence[Rule]) -> Test:
    """Return a test that says whether a name matches at least one rule."""
    names: set[str] = set()
    endings: set[str] = set()
    expressions: list[str] = []
    for rule in rules:
        rest = rule.part.removeprefix("*")
        if rule.ignores_case or _MAGIC.search(rest):
            expressions.append(f"(?i:{rule.name})" if rule.ignores_case else rule.name)
        elif rule.part.startswith("*"):
            endings.add(rest)
        else:
            names.add(rest)
    return _test(frozenset(names), tuple(endings), "|".join(expressions))


def _test(names: frozenset[str], endings: tuple[str, ...], expression: str) -> Test:
    if not endings and not expression:
        return names.__contains__
    if not expression:
        return lambda name: name in names or name.endswith(endings)
    matches = re.compile(expression).fullmatch
    return lambda name: name in names or name.endswith(endings) or matches(name) is not None
