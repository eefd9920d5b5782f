from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.errors import IllegalTransition
from backapp_core.model.runs import Run, RunState
from backapp_core.model.snapshots import Counts

AT = datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC)
REQUESTED = Run(id="a" * 32, job_name="home", state=RunState.REQUESTED, requested_at=AT)
MOVES = {
    "start": lambda run, at: run.start(at=at),
    "complete": lambda run, at: run.complete(at=at, snapshot_id="f" * 64, counts=Counts()),
    "fail": lambda run, at: run.fail(at=at, error="the disk is full"),
    "cancel": lambda run, at: run.cancel(at=at),
}


@given(st.lists(st.sampled_from(list(MOVES)), max_size=12))
def test_any_sequence_of_moves_ends_in_one_final_state_and_stays_there(names):
    run, ended = REQUESTED, None
    for number, name in enumerate(names):
        try:
            moved = MOVES[name](run, AT + timedelta(seconds=number))
        except IllegalTransition:
            continue
        assert ended is None
        assert run.state.may_become(moved.state)
        run = moved
        if run.state.is_final:
            ended = run
    assert run.state.is_final == (ended is not None)
    assert (run.ended_at is not None) == run.state.is_final
    assert (run.snapshot_id is not None) == (run.state is RunState.COMPLETED)
    assert bool(run.error) == (run.state is RunState.FAILED)
    assert (run.id, run.job_name, run.requested_at) == ("a" * 32, "home", AT)


@pytest.mark.parametrize("state", list(RunState))
def test_final_states_are_those_without_a_way_out(state):
    assert state.is_final == (not any(state.may_become(other) for other in RunState))


@pytest.mark.parametrize("state", list(RunState))
def test_staying_is_no_move(state):
    assert not state.may_become(state)


def test_cancelled_run_cannot_start():
    with pytest.raises(
        IllegalTransition, match="run aaaaaaaa is cancelled and cannot become running"
    ):
        REQUESTED.cancel(at=AT).start(at=AT)


@pytest.mark.parametrize(("problems", "has_warnings"), [(0, False), (1, True)])
def test_run_that_could_not_read_everything_completes_with_warnings(problems, has_warnings):
    running = REQUESTED.start(at=AT)
    run = running.complete(at=AT, snapshot_id="f" * 64, counts=Counts(problems=problems))
    assert run.has_warnings is has_warnings
    assert not running.has_warnings
