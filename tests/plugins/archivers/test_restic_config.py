"""What a repository says of itself is kept, and what this program cannot honour is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backapp_core.errors import DamagedRepository, UnknownFormat
from backapp_core.testing.fakes import repeatable_random_bytes
from backapp_plugins.archivers.restic.format.config import decode_config, encode_config, new_config

POLYNOMIAL = "3da3358b4dc173"
PLAIN = {"version": 2, "id": "ab" * 32, "chunker_polynomial": POLYNOMIAL}


def read(**changes: object):
    document = {key: value for key, value in {**PLAIN, **changes}.items() if value is not ...}
    return decode_config(json.dumps(document).encode(), address="here")


@pytest.mark.parametrize("chunker", ["rabin", "fastcdc"])
def test_a_new_description_reads_back(chunker):
    config = new_config(repeatable_random_bytes(), chunker)
    assert config.version == 2
    assert decode_config(encode_config(config), address="here") == config


def test_a_description_is_written_as_restic_does():
    document = encode_config(read())
    assert document == (
        b'{"version":2,"id":"%s","chunker_polynomial":"%s"}' % (b"ab" * 32, POLYNOMIAL.encode())
    )


@pytest.mark.parametrize("version", [1, 2])
def test_what_restic_wrote_is_cut_as_restic_does(version):
    config = read(version=version)
    assert (config.version, config.chunker) == (version, "rabin")


@given(
    st.dictionaries(
        st.text(max_size=9).map(lambda name: f"x{name}"),
        st.none() | st.booleans() | st.integers(-9, 2**60) | st.text() | st.lists(st.integers(0)),
        max_size=4,
    )
)
def test_what_others_keep_there_stays(extra):
    before = {**PLAIN, **extra}
    config = decode_config(json.dumps(before).encode(), address="here")
    assert json.loads(encode_config(config)) == before


def test_figures_of_others_stay_to_the_last_digit():
    document = json.dumps(PLAIN)[:-1] + ', "x": 1.0000000000000000001}'
    config = decode_config(document.encode(), address="here")
    assert b'"x":1.0000000000000000001' in encode_config(config)


@pytest.mark.parametrize(("value", "answer"), [(True, True), (False, False), (None, False)])
def test_a_wish_that_nothing_be_deleted_is_seen(value, answer):
    assert read(append_only=value).is_append_only is answer
    assert not read().is_append_only


@pytest.mark.parametrize("version", [0, 3, -1, 10**30])
def test_other_versions_are_refused_whatever_else_they_say(version):
    with pytest.raises(UnknownFormat, match=f"version {version} "):
        read(version=version, id=..., chunker_polynomial=...)


def test_the_hot_part_of_a_split_repository_is_refused():
    with pytest.raises(UnknownFormat, match="cold part"):
        read(is_hot=True)
    assert read(is_hot=False)


def test_an_unknown_way_to_cut_is_refused():
    with pytest.raises(UnknownFormat, match="'buzhash'"):
        read(backapp_chunker="buzhash")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": ...},
        {"version": "2"},
        {"id": ...},
        {"id": "../" + "ab" * 30},
        {"id": "ab" * 32 + "\n"},
        {"id": "AB" * 32},
        {"chunker_polynomial": ...},
        {"chunker_polynomial": "3da3358b4dc172"},
        {"chunker_polynomial": "7"},
        {"append_only": "yes"},
        {"is_hot": 1},
    ],
)
def test_a_description_that_makes_no_sense_is_damage(changes):
    with pytest.raises(DamagedRepository, match="config at here is damaged"):
        read(**changes)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{", b'{"version":2}', b"\xff", b"null", b'{"version":2,"x":' + b"[" * 9999],
)
def test_what_is_no_description_is_damage(document):
    with pytest.raises(DamagedRepository):
        decode_config(document, address="here")


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(document):
    with pytest.raises((DamagedRepository, UnknownFormat)):
        decode_config(document, address="here")
