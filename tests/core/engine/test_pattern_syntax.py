"""Patterns of a restore are refused for what those of a backup are refused for."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backapp_core.engine.pattern_syntax import _CLASSES, check_pattern
from backapp_core.engine.patterns import Patterns
from backapp_core.errors import InvalidPattern
from backapp_plugins.scanners.files.patterns import parse_pattern

PIECES = st.sampled_from(
    [*"abz!^[]-/\\.*?:#\0\x1b\udcff", "..", "[:", ":]", "digit", "[[:alpha:]]", "[z-a]", "**"]
)


def verdict(check):
    try:
        check()
    except InvalidPattern as error:
        return error.message
    return None


@given(st.lists(PIECES, max_size=8).map("".join), st.booleans())
@example(pattern="a[b", is_exclude=True)
@example(pattern="[]]", is_exclude=True)
@example(pattern="[a-]", is_exclude=False)
@example(pattern="!!", is_exclude=True)
@example(pattern="[[:", is_exclude=True)
@example(pattern="//", is_exclude=False)
def test_it_refuses_what_the_scanner_refuses_with_the_same_reason(pattern, is_exclude):
    purpose = "exclude" if is_exclude else "include"
    said = verdict(lambda: check_pattern(pattern, is_exclude=is_exclude))
    wanted = verdict(
        lambda: parse_pattern(pattern, origin=f"{purpose} pattern", is_exclude=is_exclude)
    )
    assert reason(said) == reason(wanted)
    assert said is None or said.isprintable()


def reason(message):
    # Before it the pattern is shown, which both do in their own way.
    return message and message.rpartition("' cannot be used: ")[2].replace("\\x5c", "\\")


@pytest.mark.parametrize("pattern", ["*.txt", "[!a]b", "a\\[b", "[[:digit:]]*", "/home/**/x", "x/"])
@pytest.mark.parametrize("is_exclude", [True, False])
def test_what_is_well_formed_is_taken(pattern, is_exclude):
    assert not Patterns([pattern], is_exclude=is_exclude).is_empty


def test_message_names_the_pattern_and_what_it_was_for():
    with pytest.raises(InvalidPattern) as caught:
        check_pattern("a\x1b[b", is_exclude=False)
    assert caught.value.message == (
        r"include pattern 'a\x1b[b' cannot be used: a '[' is not closed"
    )


@pytest.mark.parametrize("name", sorted(_CLASSES))
@pytest.mark.parametrize("form", ["[[:{}:]]", "[![:{}:]]", "[_[:{}:]x]"])
def test_classes_of_characters_mean_what_they_mean_to_the_scanner(name, form):
    pattern = form.format(name)
    rule, ours = parse_pattern(pattern, origin="pattern"), Patterns([pattern])
    # A line break at the end is beyond pathspec, a slash is never part of a name.
    for character in set(map(chr, range(1, 128))) - set("/\n"):
        wanted = re.fullmatch(rule.name, character, re.DOTALL) is not None
        assert ours.match(f"/{character}".encode(), is_directory=False) is wanted, repr(character)


@pytest.mark.parametrize(
    ("pattern", "name", "is_matched"),
    [
        ("[[]x", b"[x", True),
        ("a\\[[:digit:]]", b"a[d]", True),
        ("[:digit:]", b"d", True),
        ("[:digit:]", b"7", False),
        ("[]x]", b"]", True),
    ],
)
def test_brackets_that_only_look_like_classes_are_left_alone(pattern, name, is_matched):
    assert Patterns([pattern]).match(b"/" + name, is_directory=False) is is_matched
