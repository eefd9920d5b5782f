"""The limits of the line are kept on average, from the start, and for everybody."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.errors import RunCancelled
from backapp_core.ports.line import Line, Pace
from backapp_core.ports.surroundings import CancelToken, Surroundings
from backapp_core.testing.fakes import FrozenClock, WatchedClock, make_surroundings


def test_without_a_limit_nobody_waits():
    pace = Pace()
    assert pace.take(1 << 40, 0.0) == 0.0
    assert pace.piece_bytes == 4 << 20
    assert not Line().is_limited


def test_what_fits_into_an_eighth_of_a_second_goes_at_once_and_the_rest_in_its_time():
    pace = Pace(8000)
    assert pace.take(1000, 50.0) == 0.0
    assert pace.take(8000, 50.0) == pytest.approx(1.0)
    assert pace.take(4000, 50.0) == pytest.approx(1.5)
    assert pace.take(4000, 51.5) == pytest.approx(0.5)


def test_a_line_that_was_idle_long_carries_no_more_than_an_eighth_of_a_second_at_once():
    pace = Pace(8000)
    pace.take(1000, 0.0)
    assert pace.take(9000, 10_000.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("bytes_per_second", "piece_bytes"),
    [(1, 1), (1024, 128), (1 << 20, 1 << 17), (32 << 20, 4 << 20), (1 << 40, 4 << 20)],
)
def test_a_piece_is_what_goes_in_an_eighth_of_a_second(bytes_per_second, piece_bytes):
    assert Pace(bytes_per_second).piece_bytes == piece_bytes


@pytest.mark.parametrize(
    ("bytes_per_second", "sip_bytes"),
    [
        (1, 1),
        (1 << 16, 8 << 10),
        (1 << 20, 16 << 10),
        (16 << 20, 128 << 10),
        (1 << 40, 256 << 10),
        (None, 4 << 20),
    ],
)
def test_of_a_stream_little_is_taken_at_once(bytes_per_second, sip_bytes):
    assert Pace(bytes_per_second).sip_bytes == sip_bytes


@given(
    st.integers(1, 1 << 30),
    st.lists(st.tuples(st.integers(0, 64 << 20), st.floats(0, 1000)), min_size=1, max_size=30),
)
def test_in_no_stretch_of_time_goes_more_than_the_limit(bytes_per_second, takes):
    """Whoever waits as told, one after the other, with pauses of any length in between."""
    pace, now, gone = Pace(bytes_per_second), 0.0, []
    for count_bytes, pause_seconds in takes:
        began_at = now + pause_seconds
        now = began_at + pace.take(count_bytes, began_at)
        gone.append((began_at, now, count_bytes))
    for first in range(len(gone)):
        total_bytes = sum(count_bytes for _, _, count_bytes in gone[first:])
        seconds = now - gone[first][0]
        assert total_bytes <= bytes_per_second * (seconds + 0.125) * 1.000001 + 1


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_copies_of_the_surroundings_share_the_line_and_the_directions_do_not(tmp_path, direction):
    clock = FrozenClock()
    line = Line(**{direction: Pace(1000)})
    around = make_surroundings(tmp_path, clock=clock, line=line)
    waits = [Surroundings.wait_to_send, Surroundings.wait_to_receive]
    limited, free = waits if direction == "upload" else reversed(waits)
    limited(around, 1125)
    assert clock.monotonic_seconds() == pytest.approx(1.0)
    free(around, 1 << 30)
    assert clock.monotonic_seconds() == pytest.approx(1.0)
    limited(evolve(around, threads=1), 2000)
    assert clock.monotonic_seconds() == pytest.approx(3.0)
    assert line.is_limited


def test_a_wish_to_stop_ends_the_wait_for_the_line(tmp_path):
    token = CancelToken()
    clock = WatchedClock(seconds=0.75, then=token.cancel)
    line = Line(upload=Pace(1))
    around = make_surroundings(tmp_path, clock=clock, cancel=token, line=line)
    with pytest.raises(RunCancelled):
        around.wait_to_send(1 << 30)
    assert clock.monotonic_seconds() == 0.75
