"""An exception from a rule says on its line why it is one."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("src", "frontends", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
MARK = re.compile(r"# (noqa|type: ignore|pyright: ignore|pragma: no )")
WITH_REASON = re.compile(
    r"# (noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*|(type|pyright): ignore\[[\w, -]+\]|pragma: no \w+)"
    r"  # \S.*"
)


def unexplained(source: str) -> list[int]:
    """Return the lines with an exception that names no rule, or gives no reason."""
    if not MARK.search(source):
        return []  # most files; tokens take a hundred times as long
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [
        token.start[0]
        for token in tokens
        if token.type == tokenize.COMMENT
        and MARK.search(token.string)
        and not WITH_REASON.search(token.string)
    ]


def test_every_exception_from_a_rule_has_its_reason():
    found = {
        str(path.relative_to(ROOT)): unexplained(path.read_text(encoding="utf-8")) for path in FILES
    }
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "comment",
    ["noqa", "noqa: B018", "type: ignore  # why", "pragma: no cover", "noqa: B018  # "],
)
def test_exception_without_rule_or_reason_is_found(comment):
    assert unexplained(f"x = 1  # {comment}\n") == [1]


def test_exception_with_its_reason_passes():
    assert unexplained("x = 1  # noqa: B018, S101  # shown to nobody\n") == []
    assert unexplained('x = "# noqa"\n') == []
