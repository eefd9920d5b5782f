import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.errors import InvalidName
from backapp_core.model.jobs import Job, check_job_name


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_letters_digits_dots_dashes_and_underscores_make_a_name(name):
    check_job_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "-a", "_a", "a b", "a/b", "a\n", "a\0", "ä", "٣", "a" * 65, "../a", "%", "\ud800"],
)
def test_anything_else_is_refused_by_name_in_one_printable_line(name):
    with pytest.raises(InvalidName) as caught:
        Job(name=name, repository="/srv", roots=(b"/",))
    assert caught.value.message.isprintable()
    assert "is no job name" in caught.value.message


def test_message_about_an_endless_name_is_short():
    with pytest.raises(InvalidName) as caught:
        check_job_name("x" * 100_000)
    assert len(caught.value.message) < 300


def test_job_does_not_change():
    job = Job(name="home", repository="/srv", roots=(b"/",))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        job.name = "other"
