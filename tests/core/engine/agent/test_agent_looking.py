"""What a machine brings back and answers at the wish of a server; all on one snapshot."""

import stat
import subprocess

import pytest
from attrs import evolve

from backapp_core.engine.agent_questions import Answering
from backapp_core.engine.agent_repositories import AgentRepositories
from backapp_core.model.runs import RunState
from backapp_core.model.work import Question, QuestionKind


@pytest.fixture
def target(settled, request):
    """A folder of the test's own, below the one that the policy allows."""
    return settled.restored / request.node.name


def below(target, path):
    return target / str(path).lstrip("/")


# --- back again


def test_chosen_paths_come_back_to_a_folder(settled, target):
    ended = settled.ended(settled.ask_restore(settled.kept, target, [settled.source / "sub"]))
    assert (ended.state, ended.error, ended.counts.files) == (RunState.COMPLETED, "", 1)
    back = below(target, settled.source)
    assert (back / "sub/notes.md").read_text() == "# Notes\n" * 100
    assert not (back / "letter.txt").exists()


def test_restore_of_everything_gives_the_same_files_but_no_set_id_bits(settled, target):
    ended = settled.ended(settled.ask_restore(settled.kept, target))
    assert (ended.state, ended.error) == (RunState.COMPLETED, "")
    back = below(target, settled.source)
    subprocess.run(["diff", "-r", settled.source, back], check=True)
    assert stat.S_IMODE((settled.source / "program").stat().st_mode) == 0o6755
    assert stat.S_IMODE((back / "program").stat().st_mode) == 0o755


def test_restore_of_a_path_that_is_not_there_changes_nothing(settled, target):
    order = settled.ask_restore(settled.kept, target, [settled.source / "lost"])
    ended = settled.ended(order)
    assert ended.state is RunState.FAILED
    assert "holds no" in ended.error
    assert not target.exists()


def test_restore_through_a_link_out_of_the_allowed_folder_is_refused(settled, target):
    target.mkdir(parents=True)
    outside = settled.folder / "outside"
    outside.mkdir()
    (target / "door").symlink_to(outside)
    ended = settled.ended(settled.ask_restore(settled.kept, target / "door" / "inner"))
    assert ended.state is RunState.FAILED
    assert "does not let a server restore" in ended.error
    assert list(outside.iterdir()) == []


@pytest.mark.interop
def test_stock_restic_restores_with_the_password_that_the_machine_made(settled, tmp_path):
    state = settled.loop.surroundings.state_folder
    key = ["--password-file", state / "agent" / "passwords" / settled.repository.id]
    restic = ["restic", "-r", settled.repository.address, "--no-cache", *key]
    subprocess.run([*restic, "check", "--read-data"], check=True)
    subprocess.run([*restic, "restore", "latest", "--target", tmp_path], check=True)
    subprocess.run(["diff", "-r", settled.source, below(tmp_path, settled.source)], check=True)


# --- what people ask


def test_question_about_a_folder_is_answered(settled):
    folder = str(settled.source)
    asked = settled.question(QuestionKind.LIST_FOLDER, snapshot_id=settled.kept, folder=folder)
    answer = asked.answer
    found = {node["name"]: (node["kind"], node["size_bytes"]) for node in answer.nodes}
    assert found == {"letter.txt": ("file", 13), "sub": ("dir", 0), "program": ("file", 10)}
    assert (answer.error, answer.is_cut) == ("", False)


def test_search_is_answered(settled):
    asked = settled.question(QuestionKind.SEARCH, snapshot_id=settled.kept, pattern="*.MD")
    assert [node["path"] for node in asked.answer.nodes] == [f"{settled.source}/sub/notes.md"]


def test_question_about_snapshots_is_answered(settled):
    listed = settled.question(QuestionKind.SNAPSHOTS).answer
    assert [node["id"] for node in listed.nodes] == [settled.kept]


def test_long_answer_is_cut(settled):
    place = settled.loop.loop._place
    repositories = AgentRepositories(settled.plugins, settled.work, place.repositories.folder)
    around = evolve(place.surroundings)
    answering = Answering(around, settled.work, repositories, most_nodes=2)
    now = settled.fleet.now()
    details = {
        "repository_id": settled.repository.id,
        "snapshot_id": settled.kept,
        "folder": str(settled.source),
    }
    asked = Question("d" * 32, "a" * 32, QuestionKind.LIST_FOLDER, details, now, now)
    answer = answering.answer(asked)
    assert (len(answer.nodes), answer.is_cut) == (2, True)


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"snapshot_id": "feedbeef", "folder": "/"}, "no snapshot"),
        ({"snapshot_id": "latest", "folder": "/nowhere"}, "/nowhere"),
        ({"folder": "/"}, "names no snapshot_id"),
    ],
)
def test_question_that_makes_no_sense_is_answered_with_a_sentence(settled, details, words):
    asked = settled.question(QuestionKind.LIST_FOLDER, **details)
    assert words in asked.answer.error
    assert asked.answer.nodes == ()
