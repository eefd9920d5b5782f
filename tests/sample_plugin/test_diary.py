"""The conformance kit of notifiers, with a file as the next hop."""

import re
import sys
from pathlib import Path

import pytest

from backapp_core.testing.notifier_contract import NotifierContract, Received

sys.path.insert(0, str(Path(__file__).parent / "src"))

from backapp_shelf.diary import Diary  # not installed here

HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d \[(.*?)\] (.*)")


def read(paragraph: str) -> Received:
    """Understand one paragraph; its fields are the shape that no text may change."""
    head, *lines = paragraph.split("\n")[:-1]
    match = HEAD.fullmatch(head)
    assert match
    text = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    facts = [line.removeprefix("  ") for line in lines if not line.startswith("    ")]
    assert all(line.startswith("  ") for line in lines)
    shape = ("head", *("fact" for _ in facts))
    return Received(match[1], match[2], "\n".join([*text, *facts]), shape)


class TestDiary(NotifierContract):
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "diary.txt"

    @pytest.fixture
    def notifier(self, file):
        return Diary(file)

    @pytest.fixture
    def received(self, file):
        def received():
            paragraphs = re.split(r"\n(?! )", file.read_text(encoding="utf-8"))
            return [read(one + "\n") for one in paragraphs if one]

        return received

    @pytest.fixture
    def secret(self):
        return "there is none, so this is found nowhere"

    @pytest.fixture
    def unreachable(self, tmp_path):
        return Diary(tmp_path / "not mounted" / "diary.txt")

    @pytest.fixture
    def refused(self, tmp_path):
        return Diary(tmp_path)  # a folder
