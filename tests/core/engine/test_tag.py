import pytest

from backapp_core.errors import InputError, InvalidName

TREE = {b"/home/a": b"1"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"add": ["b", "z"]}, ("a", "b", "z")),
        ({"remove": ["a"]}, ("b",)),
        ({"add": ["c"], "remove": ["a", "b"]}, ("c",)),
        ({"replace": ["x"]}, ("x",)),
        ({"replace": []}, ()),
    ],
)
def test_tags_change_as_asked(engine, repository, take, change, expected):
    snapshot = take(TREE, tags=("a", "b"))
    (changed,) = engine.tag(repository, [snapshot], **change)
    assert changed.before == snapshot
    assert changed.after.tags == expected
    assert changed.after.original_id == snapshot.id
    assert engine.snapshots(repository) == [changed.after]


def test_snapshot_that_has_the_tags_already_is_left_alone(engine, repository, take):
    snapshot = take(TREE, tags=("a",))
    assert engine.tag(repository, [snapshot], add=["a"], remove=["z"]) == []
    assert engine.snapshots(repository) == [snapshot]


def test_nothing_asked_or_too_much_is_refused(engine, repository, take):
    snapshot = take(TREE)
    with pytest.raises(InputError, match="no tag was given"):
        engine.tag(repository, [snapshot])
    with pytest.raises(InputError, match="not both"):
        engine.tag(repository, [snapshot], add=["a"], replace=["b"])


@pytest.mark.parametrize("name", ["", " ", "a,b", "a\nb", "a\x1b[2J"])
def test_what_is_no_tag_is_refused(engine, repository, take, name):
    with pytest.raises(InvalidName):
        engine.tag(repository, [take(TREE)], add=[name])
