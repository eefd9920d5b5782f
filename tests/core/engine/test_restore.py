import pytest
from attrs import evolve

from backapp_core import Action, Overwrite, Progress, RestoreRequest, Verb
from backapp_core.engine.patterns import Patterns
from backapp_core.errors import (
    InputError,
    InvalidPattern,
    PathNotFound,
    RunCancelled,
    WrongPassword,
)
from backapp_core.testing.memory_scanner import EmptyFolder, Link

TREE = {
    b"/home/me/a.txt": b"aaa",
    b"/home/me/docs/b.txt": b"bb",
    b"/home/me/docs/deep/c.log": b"c",
    b"/home/me/docs/link": Link(b"b.txt"),
    b"/home/you/d.txt": b"dddd",
}


@pytest.fixture
def restored(engine, repository, take, tmp_path):
    """Take the tree, restore it as asked, and return what is in the target, and the outcome."""

    def restored(**request):
        target = tmp_path / "target"
        plan = engine.plan_restore(repository, take(TREE), RestoreRequest(target, **request))
        outcome = engine.restore(plan)
        assert outcome.is_complete, outcome
        there = {path.relative_to(target).as_posix() for path in target.rglob("*")}
        return there, outcome

    return restored


def test_everything_comes_back_below_the_target_with_its_path(restored, tmp_path):
    there, outcome = restored()
    assert there == {
        "home",
        "home/me",
        "home/me/a.txt",
        "home/me/docs",
        "home/me/docs/b.txt",
        "home/me/docs/deep",
        "home/me/docs/deep/c.log",
        "home/me/docs/link",
        "home/you",
        "home/you/d.txt",
    }
    assert (outcome.files, outcome.restored_bytes, outcome.others) == (4, 10, 1)
    assert (tmp_path / "target/home/me/docs/b.txt").read_bytes() == b"bb"


def test_folder_comes_back_without_the_path_that_leads_to_it(restored, tmp_path):
    there, _ = restored(folder=b"/home/me/docs/")
    assert there == {"b.txt", "deep", "deep/c.log", "link"}
    assert (tmp_path / "target/link").readlink().as_posix() == "b.txt"


@pytest.mark.parametrize(
    ("request_", "files"),
    [
        ({"include": ("*.txt",)}, {"a.txt", "b.txt", "d.txt"}),
        ({"include": ("*.txt",), "exclude": ("you",)}, {"a.txt", "b.txt"}),
        ({"include": ("/home/me/docs",)}, {"b.txt", "c.log", "link"}),
        ({"include": ("docs/",)}, {"b.txt", "c.log", "link"}),
        ({"include": ("/home/me/d*/deep",)}, {"c.log"}),
        ({"exclude": ("/home/me/docs/*", "!/home/me/docs/deep")}, {"a.txt", "c.log", "d.txt"}),
        ({"exclude": ("*.TXT",), "ignores_case": True}, {"c.log", "link"}),
        ({"folder": b"/home/me", "include": ("/docs/deep",)}, {"c.log"}),
        ({"folder": b"/home/me", "exclude": ("/docs",)}, {"a.txt"}),
    ],
)
def test_patterns_choose_what_comes_back(restored, request_, files):
    there, _ = restored(**request_)
    assert {path.rpartition("/")[2] for path in there if "." in path or "link" in path} == files


def test_include_makes_no_directory_that_leads_nowhere(restored):
    there, _ = restored(include=("c.log",))
    assert there == {
        "home",
        "home/me",
        "home/me/docs",
        "home/me/docs/deep",
        "home/me/docs/deep/c.log",
    }


def test_patterns_that_choose_nothing_are_refused(restored, tmp_path):
    with pytest.raises(PathNotFound, match="nothing in snapshot"):
        restored(include=("*.jpg",))
    assert not (tmp_path / "target").exists()


def test_missing_folder_is_refused(restored):
    with pytest.raises(PathNotFound, match="'/home/she'"):
        restored(folder=b"/home/she")


def test_file_is_no_folder(restored):
    with pytest.raises(InputError, match="is no folder; to restore it alone use --include"):
        restored(folder=b"/home/me/a.txt")


@pytest.mark.parametrize("pattern", ["", "  ", "a\0b", "!", "a[b", "x\\", "!x"])
def test_malformed_pattern_is_refused(restored, pattern):
    with pytest.raises(InvalidPattern):
        restored(include=(pattern,))


def test_plan_says_what_would_happen_and_does_nothing(engine, repository, take, tmp_path):
    target = tmp_path / "target"
    (target / "home/me").mkdir(parents=True)
    (target / "home/me/a.txt").write_bytes(b"other")
    before = sorted(target.rglob("*"))
    plan = engine.plan_restore(repository, take(TREE), RestoreRequest(target))
    steps = {step.path: step.action for step in plan}
    assert steps[b"/home/me"] is Action.KEEP
    assert steps[b"/home/me/a.txt"] is Action.OVERWRITE
    assert steps[b"/home/you/d.txt"] is Action.CREATE
    assert sorted(target.rglob("*")) == before
    kept = evolve(plan, request=evolve(plan.request, overwrite=Overwrite.NEVER))
    assert {step.path: step.action for step in kept}[b"/home/me/a.txt"] is Action.KEEP


def test_plan_of_a_folder_shows_where_things_go(engine, repository, take, tmp_path):
    plan = engine.plan_restore(
        repository, take(TREE), RestoreRequest(tmp_path / "t", folder=b"/home/me/docs")
    )
    assert [step.path for step in plan] == [b"/b.txt", b"/link", b"/deep", b"/deep/c.log"]
    assert next(iter(plan)).node.path == b"/home/me/docs/b.txt"


def test_damaged_content_is_listed_and_the_rest_restored(engine, repository, take, tmp_path, fakes):
    snapshot = take(TREE)
    bucket = fakes.buckets["fake:memory"]
    digest = next(n.sha256 for n in repository.nodes(snapshot) if n.path == b"/home/me/a.txt")
    bucket.store(f"data/{digest}", b"AAA", replace=True)
    target = tmp_path / "target"
    outcome = engine.restore(engine.plan_restore(repository, snapshot, RestoreRequest(target)))
    assert [path for path, _ in outcome.not_restored] == [b"/home/me/a.txt"]
    assert not outcome.is_complete
    assert not (target / "home/me/a.txt").exists()
    assert (target / "home/you/d.txt").read_bytes() == b"dddd"


def test_progress_ends_with_the_totals(restored, events):
    restored()
    last = [event for event in events.of(Progress) if event.verb is Verb.RESTORE][-1]
    assert (last.files_done, last.files_total) == (4, 4)
    assert (last.bytes_done, last.bytes_total) == (10, 10)


def test_progress_is_told_a_few_times_a_second_only(restored, events):
    restored()
    told = [event for event in events.of(Progress) if event.verb is Verb.RESTORE]
    assert len(told) == 2, "the clock stands still: one at the beginning, one at the end"


def test_restore_stops_when_asked(engine, repository, take, tmp_path):
    plan = engine.plan_restore(repository, take(TREE), RestoreRequest(tmp_path / "target"))
    engine.surroundings.cancel.cancel()
    with pytest.raises(RunCancelled):
        engine.restore(plan)


@pytest.mark.parametrize(
    ("lines", "path", "can"),
    [
        (["/home/me"], b"/var", False),
        (["/home/me"], b"/home", True),
        (["/home/me"], b"/home/me/deep", True),
        (["/home/*/x"], b"/home/you", True),
        (["/home/*/x"], b"/var", False),
        (["x"], b"/anything", True),
        (["/home/me", "*.txt"], b"/var", True),
        (["home/me"], b"/var", False),
    ],
)
def test_anchored_patterns_let_subtrees_be_skipped(lines, path, can):
    assert Patterns(lines).may_match_below(path) is can


def test_name_that_begins_like_a_comment_can_be_chosen():
    chosen = Patterns(["#x#", "/a/#y"])
    assert chosen.match(b"/deep/#x#", is_directory=False)
    assert chosen.match(b"/a/#y", is_directory=False)
    assert not chosen.match(b"/x", is_directory=False)


def test_empty_folder_comes_back_as_an_empty_folder(engine, repository, take, tmp_path):
    snapshot = take({b"/home/e": EmptyFolder(), b"/home/a": b"1"})
    plan = engine.plan_restore(
        repository, snapshot, RestoreRequest(tmp_path / "target", folder=b"/home/e")
    )
    assert list(plan) == []
    assert engine.restore(plan).is_complete
    assert list((tmp_path / "target").iterdir()) == []


def test_patterns_that_choose_nothing_of_an_empty_folder_are_said(
    engine, repository, take, tmp_path
):
    snapshot = take({b"/home/e": EmptyFolder()})
    request = RestoreRequest(tmp_path / "target", folder=b"/home/e", include=("x",))
    with pytest.raises(PathNotFound, match="chosen by the patterns"):
        engine.plan_restore(repository, snapshot, request)


def test_snapshot_that_cannot_be_read_at_all_makes_no_target(
    engine, repository, take, tmp_path, monkeypatch
):
    plan = engine.plan_restore(repository, take(TREE), RestoreRequest(tmp_path / "target"))

    def nodes(*_):
        raise WrongPassword("no key opens it")
        yield

    monkeypatch.setattr(repository, "nodes", nodes)
    with pytest.raises(WrongPassword):
        engine.restore(plan)
    assert not (tmp_path / "target").exists()
