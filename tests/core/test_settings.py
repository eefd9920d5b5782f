import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backapp_core.errors import InputError, InvalidSettings
from backapp_core.model.names import to_text
from backapp_core.settings import PluginSettings, RepositorySettings, Settings

FULL = {
    "repository": "home",
    "password_file": "/etc/backapp/password",
    "password_command": "",
    "identity_files": ["/root/key.txt"],
    "repositories": {
        "home": {"url": "/srv/backup", "identity_files": ["/root/a", "/root/b"]},
        "away": {"url": "sftp:me@host:/srv/x", "password_command": "pass away"},
    },
    "store": "sqlite:////var/lib/backapp.sqlite",
    "plugins": {"disabled": ["notifiers.webhook"]},
    "notifiers": {"me": {"kind": "email", "to": ["me@example.org"]}},
    "threads": 4,
    "cache_folder": "/var/cache/backapp",
    "state_folder": "/var/lib/backapp",
}


def test_empty_settings_are_fine_and_need_no_converter():
    code = (
        "import sys; from backapp_core.settings import Settings; Settings.parse({});"
        "print('cattrs' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert Settings.parse({}) == Settings()


def test_every_key_is_understood():
    parsed = Settings.parse(FULL)
    assert parsed.repositories["home"] == RepositorySettings(
        "/srv/backup", identity_files=("/root/a", "/root/b")
    )
    assert parsed.plugins == PluginSettings(disabled=("notifiers.webhook",))
    assert parsed.notifiers["me"] == {"kind": "email", "to": ["me@example.org"]}
    assert parsed.threads == 4


def test_repository_is_found_by_name_by_address_and_by_default():
    parsed = Settings.parse(FULL)
    away = parsed.repositories["away"]
    assert parsed.repository_at() == parsed.repositories["home"]
    assert parsed.repository_at("away") == away
    assert parsed.repository_at("sftp:me@host:/srv/x") == away
    other = parsed.repository_at("/mnt/disk")
    assert other == RepositorySettings("/mnt/disk", "/etc/backapp/password", "", ("/root/key.txt",))


def test_no_repository_at_all_is_said():
    with pytest.raises(InputError, match="no repository was named"):
        Settings().repository_at()


def faults_of(data):
    with pytest.raises(InvalidSettings) as caught:
        Settings.parse(data, source="settings file /x.toml")
    assert caught.value.message.startswith("settings file /x.toml cannot be used: ")
    return dict(caught.value.faults)


def test_all_faults_are_listed_with_their_paths():
    faults = faults_of(
        {
            "repository": 1,
            "repositories": {"home": {"password_file": True}, "away": {"url": "", "color": "red"}},
            "plugins": {"disabled": "x", "enabled": []},
            "threads": 1.5,
            "colour": "red",
            "store": None,
        }
    )
    assert set(faults) == {
        "repository",
        "repositories.home.password_file",
        "repositories.home.url",
        "repositories.away.url",
        "repositories.away.color",
        "plugins.disabled",
        "plugins.enabled",
        "threads",
        "colour",
        "store",
    }
    assert faults["threads"] == "expected a whole number, found a number (1.5)"
    assert faults["plugins.disabled"] == "expected a list, found text ('x')"
    assert faults["repositories.home.url"] == "is missing"


@pytest.mark.parametrize("threads", [-1, 65, 10**30])
def test_threads_have_limits(threads):
    assert list(faults_of({"threads": threads})) == ["threads"]


@pytest.mark.parametrize("key", ["repository", "store", "cache_folder", "state_folder"])
def test_paths_and_addresses_are_one_line(key):
    assert list(faults_of({key: "a\0b"})) == [key]
    assert list(faults_of({key: "a\nb"})) == [key]


@pytest.mark.parametrize("data", [None, 7, [], "text", [("a", 1)]])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(InvalidSettings):
        Settings.parse(data)


def faults_in(data):
    """Return the faults of ``data``, none if it is understood; any other error fails."""
    try:
        Settings.parse(data)
    except InvalidSettings as error:
        faults = error.faults
    else:
        return ()
    assert faults
    return faults


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.binary(max_size=8),
    st.just("x" * 100_000),
    st.just(10**400),
    st.dates(),
    st.datetimes(),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["url", "kind", "disabled", "x", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*FULL, "unknown", "", "a.b", "\0"]), VALUES, max_size=4))
def test_any_table_is_understood_or_refused_with_paths(data):
    shown = tuple(to_text(key.encode()) for key in data)
    for path, reason in faults_in({**FULL, **data}):
        assert path.startswith(shown), (path, reason)
        assert reason


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_anything_at_all_is_understood_or_refused(data):
    faults_in(data)
