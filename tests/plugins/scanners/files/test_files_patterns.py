"""Patterns: what they mean, what is refused, and that git means the same."""

import os
import subprocess
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backapp_core.errors import InvalidPattern
from backapp_core.testing.trees import Item, TreeSpec
from backapp_plugins.scanners.files.patterns import parse_pattern, parse_pattern_file
from backapp_plugins.scanners.files.rules import Rules


def excludes(patterns, folder, name, *, directory=False, includes=(), iexcludes=()):
    rules = Rules(
        [parse_pattern(text, origin="exclude pattern") for text in patterns]
        + [parse_pattern(text, origin="exclude pattern", ignores_case=True) for text in iexcludes]
        + [parse_pattern(text, origin="include pattern", is_exclude=False) for text in includes]
    )
    tests = rules.tests_in(folder)
    test = tests.excludes_directory if directory else tests.excludes_file
    return bool(test and test(name))


@pytest.mark.parametrize(
    ("pattern", "folder", "name", "is_excluded"),
    [
        ("*.tmp", "/any/where", "x.tmp", True),
        ("*.tmp", "/", ".tmp", True),
        ("*.tmp", "/", "x.tmpx", False),
        ("cache", "/a/b", "cache", True),
        ("cache", "/a/b", "caches", False),
        ("/cache", "/", "cache", True),
        ("/cache", "/a", "cache", False),
        ("/home/*/.cache", "/home/eva", ".cache", True),
        ("/home/*/.cache", "/home/eva/x", ".cache", False),
        ("/home/*/.cache", "/home", ".cache", False),
        ("build/out", "/deep/down/build", "out", True),
        ("build/out", "/deep/down/rebuild", "out", False),
        ("a/**/b", "/x/a", "b", True),
        ("a/**/b", "/x/a/1/2", "b", True),
        ("a/**/b", "/x/aa/1/2", "b", False),
        ("a/**", "/x/a", "anything", True),
        ("a/**", "/x/a/1/2", "anything", True),
        ("a/**", "/x", "a", False),
        ("**/a", "/", "a", True),
        ("/**/a", "/x/y", "a", True),
        ("a**b", "/", "a-anything-b", True),
        ("?", "/", "ü", True),
        ("?", "/", "\udcff", True),
        ("?", "/", "ab", False),
        ("*", "/", "\udcff\n\udc80", True),
        ("line*break", "/", "line\nbreak", True),
        ("[a-c]x", "/", "bx", True),
        ("[!a-c]x", "/", "bx", False),
        ("[^a-c]x", "/", "dx", True),
        ("[]x]", "/", "]", True),
        ("[!]]", "/", "]", False),
        (r"[\]a]", "/", "]", True),
        ("[a-]", "/", "-", True),
        ("[[:digit:]]", "/", "7", True),
        ("[[:digit:][:upper:]_]", "/", "_", True),
        ("[![:space:]]", "/", " ", False),
        ("[äö]", "/", "ö", True),
        (r"\*", "/", "*", True),
        (r"\*", "/", "x", False),
        (r"\!x", "/", "!x", True),
        ("#x", "/", "#x", True),
        ("$x^", "/", "$x^", True),
        ("a.c", "/", "abc", False),
        ("(a|b)+", "/", "a", False),
        ("-rf", "/", "-rf", True),
        ("~", "/", "~", True),
        ("trailing ", "/", "trailing ", True),
        ("/x[!a]y/z", "/x/y", "z", False),
        ("/x[+-9]y/z", "/x/y", "z", False),
    ],
)
def test_pattern_means(pattern, folder, name, is_excluded):
    assert excludes([pattern], folder, name) is is_excluded
    assert excludes([pattern], folder, name, directory=True) is is_excluded


def test_final_slash_means_directories_only():
    assert excludes(["cache/"], "/a", "cache", directory=True)
    assert not excludes(["cache/"], "/a", "cache")


def test_last_pattern_that_matches_decides():
    assert not excludes(["*.log", "!keep.log"], "/", "keep.log")
    assert excludes(["*.log", "!keep.log"], "/", "other.log")
    assert excludes(["*.log", "!keep.log", "keep.*"], "/", "keep.log")
    assert excludes(["!keep.log", "*.log"], "/", "keep.log")


def test_includes_have_the_last_word():
    assert not excludes(["*.log"], "/", "keep.log", includes=["keep.*"])
    assert not excludes(["/a/b/*"], "/a/b", "c", includes=["/a/b/c"])


def test_case_is_ignored_only_where_asked():
    assert not excludes(["*.JPG"], "/", "x.jpg")
    assert excludes([], "/", "x.jpg", iexcludes=["*.JPG"])
    assert excludes([], "/Home/EVA", "x", iexcludes=["/home/eva/X"])
    assert not excludes([], "/", "x.jpg", iexcludes=["*.JPG", "!X.*"])


def test_directories_of_which_the_same_rules_speak_share_their_tests():
    rules = Rules([parse_pattern(text, origin="") for text in ("*.tmp", "/a/x", "/b/**/y")])
    assert rules.tests_in("/c") is rules.tests_in("/d/e")
    assert rules.tests_in("/b") is rules.tests_in("/b/c")
    assert rules.tests_in("/a") is not rules.tests_in("/c")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "it is empty"),
        ("/", "it is empty"),
        ("!", "it is empty"),
        ("a//b", "it has an empty part"),
        ("//", "it has an empty part"),
        ("[ab", "a '[' is not closed"),
        ("a/[b/]c", "a '[' is not closed"),
        ("[]", "a '[' is not closed"),
        ("x\\", "it ends in a single backslash"),
        ("[z-a]", "the range 'z-a' is the wrong way round"),
        ("[[:nonsense:]]", "'[:nonsense:]' is no class of characters"),
        ("../x", "has a part '..'"),
        ("./x", "has a part '.'"),
        ("a\0b", "it holds a NUL character"),
    ],
)
def test_malformed_pattern_is_refused_with_its_origin_and_reason(pattern, why):
    with pytest.raises(InvalidPattern) as caught:
        parse_pattern(pattern, origin="exclude pattern")
    assert caught.value.message.startswith("exclude pattern '")
    assert why in caught.value.message
    assert "\0" not in caught.value.message


def test_include_pattern_with_an_exclamation_mark_is_refused():
    with pytest.raises(InvalidPattern, match=r"include pattern '!x'"):
        parse_pattern("!x", origin="include pattern", is_exclude=False)


def test_file_of_patterns_is_read_as_git_reads_one():
    content = (
        b"\xef\xbb\xbf# comment\n\n*.tmp\r\n!keep.tmp  \n\\#no comment\nspace\\ \n  \nodd\xff\n"
    )
    rules = parse_pattern_file(content, path=b"/etc/excludes")
    assert [rule.is_exclude for rule in rules] == [True, False, True, True, True]
    tests = Rules(rules).tests_in("/")
    assert tests.excludes_file is not None
    excluded = [
        name
        for name in (
            "x.tmp",
            "keep.tmp",
            "#no comment",
            "space ",
            "space",
            "odd\udcff",
            "# comment",
        )
        if tests.excludes_file(name)
    ]
    assert excluded == ["x.tmp", "#no comment", "space ", "odd\udcff"]


def test_every_fault_of_a_pattern_file_is_named_with_its_line():
    with pytest.raises(InvalidPattern) as caught:
        parse_pattern_file(b"fine\n[x\nfine too\n../y\n", path=b"/etc/excludes")
    assert "'/etc/excludes' line 2: pattern '[x'" in caught.value.message
    assert "'/etc/excludes' line 4: pattern '../y'" in caught.value.message
    assert "fine" not in caught.value.message


def test_pattern_file_that_is_missing_is_refused(source):
    with pytest.raises(InvalidPattern, match="pattern file '/no/such' does not exist"):
        source.scanner(exclude_files=(b"/no/such",))


def test_sources_of_patterns_are_read_in_their_order(source):
    listed = source.top + b"-patterns"
    Path(os.fsdecode(listed)).write_bytes(b"!b.x\n*.y\n")
    TreeSpec({name: Item() for name in (b"a.x", b"b.x", b"c.y", b"d.y", b"E.Z")}).write(source.top)
    kept = source.paths(
        excludes=("*.x",), iexcludes=("*.z",), exclude_files=(listed,), includes=("d.y",)
    )
    assert kept == {b"b.x", b"d.y"}


# --- the same as git ------------------------------------------------------------------------------

_WORDS = st.text("ab.", min_size=1, max_size=2).filter(lambda word: word not in {".", ".."})
# No "a**": it is "a*" by the manual, but git takes the stars for directories if a "/" follows.
_GLOBS = st.sampled_from(["*", "a*", "*b", "?", "a?", "[ab]", "[!a]", "[a-b]*", "**", "*.*"])
_PARTS = st.one_of(_WORDS, _GLOBS)
_NAMES = ["a", "b", "ab", "a.b", ".a"]


@st.composite
def _patterns(draw):
    """A pattern for git and the same for us."""
    parts = draw(st.lists(st.one_of(_PARTS, st.just("**")), min_size=1, max_size=4))
    end = draw(st.sampled_from(["", "", "/"]))
    sign = draw(st.sampled_from(["", "", "!"]))
    if draw(st.booleans()):
        text = "/" + "/".join(parts) + end
        return sign + text, sign + "{top}" + text
    text = "/".join(parts) + end
    if len(parts) == 1:
        return sign + text, sign + text
    # Git would anchor several parts, we do not; but a glob in front may match above the checkout.
    is_plain = not set(parts[0]) & set("*?[")
    return sign + "**/" + text, sign + (text if is_plain else "{top}/**/" + text)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    top = tmp_path_factory.mktemp("git")
    paths = [
        "/".join(parts) + "/" + name
        for depth in range(3)
        for parts in product(["a", "b", "ab"], repeat=depth)
        for name in _NAMES
        if name not in {"a", "b", "ab"} or depth == 2
    ]
    TreeSpec({path.lstrip("/").encode(): Item() for path in paths}).write(top)
    subprocess.run(["git", "init", "-q", top], check=True)
    return top


def _kept_by_git(top, patterns):
    (top / ".git/listed").write_text("".join(line + "\n" for line in patterns))
    command = ["git", "-C", top, "ls-files", "--others", "-z", "--exclude-from=.git/listed"]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    return {path for path in output.split(b"\0") if path}


def _check_against_git(source, checkout, patterns):
    kept = _kept_by_git(checkout, [git for git, _ in patterns])
    top = os.fsencode(checkout)
    ours = tuple(text.format(top=checkout) for _, text in patterns)
    seen = {
        (found.path + b"/").removeprefix(top + b"/") + entry.name
        for found in source.scanner(roots=(top,), excludes=("/**/.git/", *ours, ".git")).scan()
        for entry in found.entries
    }
    assert seen == kept


_AGAINST_GIT = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@settings(_AGAINST_GIT, max_examples=60)
@given(st.lists(_patterns(), max_size=5))
def test_what_is_kept_is_what_git_would_not_ignore(source, checkout, patterns):
    _check_against_git(source, checkout, patterns)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(_AGAINST_GIT, max_examples=10_000)
@given(st.lists(_patterns(), max_size=6))
def test_what_is_kept_is_what_git_would_not_ignore_in_ten_thousand_cases(
    source, checkout, patterns
):
    _check_against_git(source, checkout, patterns)
