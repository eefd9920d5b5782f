"""Text of the command line becomes values, or one sentence."""

import os

import click
import pytest

from backapp_cli import values
from backapp_core.model.rates import Rate
from backapp_core.model.retention import Within
from backapp_core.model.subsets import DataSubset


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("10M", 10 * 1024**2),
        ("10m", 10 * 1024**2),
        ("500K", 500 * 1024),
        ("1.5G", 3 * 1024**3 // 2),
        ("2 GiB", 2 * 1024**3),
        ("7b", 7),
        ("1T", 1024**4),
    ],
)
def test_sizes_are_powers_of_1024(text: str, number: int) -> None:
    assert values.size_bytes(text) == number


@pytest.mark.parametrize("text", ["", "M", "10X", "-1", "1e9", "10 M M", "10 elephants", "9" * 400])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no size"):
        values.size_bytes(text)


def test_rates_are_kib_a_second_unless_a_unit_is_said() -> None:
    assert values.rate("500") == Rate(500 * 1024)
    assert values.rate("2M") == Rate(2 << 20)
    assert values.rate("0") == Rate()
    with pytest.raises(click.BadParameter, match="is no rate"):
        values.rate("fast")


@pytest.mark.parametrize(
    ("text", "subset"),
    [
        ("3/12", DataSubset(part=3, parts=12)),
        ("2.5%", DataSubset(percent=2.5)),
        ("10G", DataSubset(most_bytes=10 << 30)),
    ],
)
def test_shares_of_the_data_are_said_as_in_restic(text: str, subset: DataSubset) -> None:
    assert values.data_subset(text) == subset


@pytest.mark.parametrize("text", ["", "a/b", "0/3", "4/3", "1/257", "0%", "101%", "-1%", "0", "x"])
def test_what_is_no_share_of_the_data_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        values.data_subset(text)


def test_paths_are_the_bytes_of_the_shell() -> None:
    assert values.path_bytes(os.fsdecode(b"/a\xff\n")) == b"/a\xff\n"
    with pytest.raises(click.BadParameter):
        values.path_bytes("")


def test_durations_are_restics() -> None:
    assert values.within("1y6m7d12h") == Within(1, 6, 7, 12)
    with pytest.raises(click.BadParameter, match="1y6m7d12h"):
        values.within("soon")


def test_tags_are_listed_or_repeated() -> None:
    assert values.tags(("a,b", " c ,a", "")) == ("a", "b", "c")
    assert values.tag_lists(("a,b", "")) == (frozenset({"a", "b"}), frozenset())


def test_options_of_an_archiver_are_pairs() -> None:
    assert values.key_values(("a=1", "b=x=y", "c=")) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in (("a",), ("=1",), ("a=1", "a=2")):
        with pytest.raises(click.BadParameter):
            values.key_values(wrong)


def test_groups_have_restics_names() -> None:
    assert values.groups("host,paths") == {"host", "paths"}
    assert values.groups("tag,path") == {"tags", "paths"}
    assert values.groups("") == frozenset()
    with pytest.raises(click.BadParameter, match="cannot be grouped by"):
        values.groups("color")
