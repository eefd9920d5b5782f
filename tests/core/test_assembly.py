import os
import subprocess
import sys
from pathlib import Path

import pytest

import backapp_core
from backapp_core import CancelToken, Recording, Settings
from backapp_core.errors import InputError, PluginMisbehaved
from backapp_core.hookspecs import hookimpl
from backapp_core.manager import PluginManager
from backapp_core.testing.fakes import make_surroundings


def test_nothing_is_loaded_opened_or_written(tmp_path):
    """Assembling must be cheap and must not fail because of a plugin that is not needed."""
    code = (
        "import sys, backapp_core\n"
        f"folder = {str(tmp_path)!r}\n"
        "s = backapp_core.Settings(cache_folder=folder + '/c', state_folder=folder + '/s')\n"
        "backapp_core.assemble(s)\n"
        "heavy = {'boto3', 'sqlalchemy', 'litestar', 'click', 'fsspec', 'cattrs', 'paramiko'}\n"
        "print(sorted(heavy & set(sys.modules)), 'backapp_plugins' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"
    assert list(tmp_path.iterdir()) == []


def test_folders_come_from_the_settings(tmp_path):
    settings = Settings(
        cache_folder=str(tmp_path / "c"), state_folder=str(tmp_path / "s"), threads=3
    )
    surroundings = backapp_core.assemble(settings).surroundings
    assert surroundings.cache_folder == tmp_path / "c"
    assert surroundings.state_folder == tmp_path / "s"
    assert surroundings.threads == 3


def test_the_limits_of_the_settings_are_those_of_the_line():
    settings = Settings.parse({"limit_upload": 64, "limit_download": "2M"})
    line = backapp_core.assemble(settings).surroundings.line
    assert (line.upload.bytes_per_second, line.download.bytes_per_second) == (64 << 10, 2 << 20)
    assert not backapp_core.assemble(Settings()).surroundings.line.is_limited


def test_what_the_settings_say_of_transports_reaches_them(tmp_path):
    settings = Settings(transports={"s3": {"region": "x"}})
    assert backapp_core.assemble(settings).surroundings.transports == settings.transports
    around = make_surroundings(tmp_path)
    engine = backapp_core.assemble(settings, surroundings=around)
    assert engine.surroundings.transports == settings.transports


def test_folders_default_to_the_places_of_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    surroundings = backapp_core.assemble().surroundings
    if sys.platform == "linux":
        assert surroundings.cache_folder == tmp_path / "c" / "backapp"
        assert surroundings.state_folder == tmp_path / "s" / "backapp"
    assert 1 <= surroundings.threads <= min(os.cpu_count(), 8)


def test_surroundings_and_listeners_are_handed_on(tmp_path):
    heard, token = Recording(), CancelToken()
    around = make_surroundings(tmp_path)
    engine = backapp_core.assemble(
        plugins=PluginManager([]), surroundings=around, events=heard, cancel=token
    )
    assert engine.surroundings.events is heard
    assert engine.surroundings.cancel is token
    assert engine.surroundings.clock is around.clock


def test_broken_plugin_is_met_on_first_use_only(tmp_path, monkeypatch):
    class Broken:
        @hookimpl
        def backapp_scanners(self):
            raise ValueError("oops")

    load = PluginManager.load
    monkeypatch.setattr(
        PluginManager, "load", lambda **more: load(**more, extra={"broken": Broken()})
    )
    engine = backapp_core.assemble(surroundings=make_surroundings(tmp_path))
    with pytest.raises(
        PluginMisbehaved, match="'broken' raised ValueError in backapp_scanners: oops"
    ):
        engine.plugins.roles  # noqa: B018  # the property raises


def test_closing_twice_is_fine(tmp_path):
    engine = backapp_core.assemble(
        plugins=PluginManager([]), surroundings=make_surroundings(tmp_path)
    )
    engine.close()
    engine.close()


def test_everything_exported_exists_and_is_sorted():
    names = backapp_core.__all__
    assert all(hasattr(backapp_core, name) for name in names)
    assert len(set(names)) == len(names)
    public = {
        name
        for name, value in vars(backapp_core).items()
        if not name.startswith("_") and not isinstance(value, type(os))
    }
    assert public == set(names)


def test_package_needs_no_installation_record():
    source = Path(backapp_core.__file__).parent
    assert (source / "py.typed").exists()


def test_settings_as_plain_data_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"Settings\.parse"):
        backapp_core.assemble({"threads": 1})


@pytest.mark.parametrize(("text", "seconds"), [("", 0.0), ("1h30m", 5400.0)])
def test_settings_say_how_long_a_lock_is_waited_for(tmp_path, text, seconds):
    folders = {"cache_folder": str(tmp_path), "state_folder": str(tmp_path)}
    with backapp_core.assemble(Settings(retry_lock=text, **folders)) as engine:
        assert engine.surroundings.lock_wait_seconds == seconds


def test_settings_that_were_never_parsed_are_refused_in_the_same_words():
    with pytest.raises(InputError, match="'soon' is no stretch of time"):
        backapp_core.assemble(Settings(retry_lock="soon"))
