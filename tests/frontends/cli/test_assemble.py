"""The command line goes before the environment, and that before the settings file."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from backapp_cli.assemble import (
    Choices,
    has_terminal,
    read_settings,
    repository_name,
    wants_traceback,
)
from backapp_core.errors import InputError, InvalidSettings
from backapp_core.model.rates import Rate
from backapp_core.settings import Settings


def test_the_repository_is_the_nearest_one_that_is_named() -> None:
    configured = Settings(repository="/configured")
    both = {"BACKAPP_REPOSITORY": "/ours", "RESTIC_REPOSITORY": "/restics"}
    assert repository_name(Choices(repository="/given", environment=both), configured) == "/given"
    assert repository_name(Choices(environment=both), configured) == "/ours"
    restics = {"RESTIC_REPOSITORY": "/restics"}
    assert repository_name(Choices(environment=restics), configured) == "/restics"
    assert repository_name(Choices(environment={}), configured) == "/configured"
    with pytest.raises(InputError, match="--repo"):
        repository_name(Choices(environment={}), Settings())


def test_settings_are_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text("threads = 3\ncache_folder = '/from/file'")
    (tmp_path / "two.toml").write_text("threads = 5")
    environment = {"BACKAPP_CONFIG": str(tmp_path / "two.toml")}
    one = read_settings(Choices(config=str(tmp_path / "one.toml"), environment=environment))
    assert (one.threads, one.cache_folder) == (3, "/from/file")
    assert read_settings(Choices(environment=environment)).threads == 5
    moved = {**environment, "BACKAPP_CACHE_DIR": "/env"}
    assert read_settings(Choices(environment=moved)).cache_folder == "/env"
    assert read_settings(Choices(environment=moved, cache_folder="/x")).cache_folder == "/x"


def test_the_compression_is_the_nearest_one_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("compression = 'off'")
    restics = {"RESTIC_COMPRESSION": "better"}
    both = {"BACKAPP_COMPRESSION": "max", **restics}

    def chosen(given: str = "", environment: Mapping[str, str] = MappingProxyType({})) -> str:
        choices = Choices(config=str(file), compression=given, environment=environment)
        return read_settings(choices).compression

    assert chosen() == "off"
    assert chosen(environment=restics) == "better"
    assert chosen(environment=both) == "max"
    assert chosen("fastest", both) == "fastest"
    assert read_settings(Choices(environment={})).compression == "auto"
    with pytest.raises(
        InputError, match=r"\$RESTIC_COMPRESSION is 'zip'; use one of off, fastest,"
    ):
        chosen(environment={"RESTIC_COMPRESSION": "zip"})
    file.write_text("compression = 'zip'")
    with pytest.raises(
        InvalidSettings, match="compression: 'zip' is not known here; use one of off,"
    ):
        chosen()


def test_how_long_to_wait_for_a_lock_is_what_is_named_nearest(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("retry_lock = '1h'")

    def chosen(given: str = "", environment: Mapping[str, str] = MappingProxyType({})) -> str:
        choices = Choices(config=str(file), retry_lock=given, environment=environment)
        return read_settings(choices).retry_lock

    ours = {"BACKAPP_RETRY_LOCK": "5m"}
    assert chosen() == "1h"
    assert chosen(environment=ours) == "5m"
    assert chosen("0s", ours) == "0s"
    assert read_settings(Choices(environment={})).retry_lock == ""
    with pytest.raises(InputError, match=r"\$BACKAPP_RETRY_LOCK: 'soon' is no stretch of time"):
        chosen(environment={"BACKAPP_RETRY_LOCK": "soon"})
    file.write_text("retry_lock = 'soon'")
    with pytest.raises(InvalidSettings, match="retry_lock: must be a stretch of time"):
        chosen()


@pytest.mark.parametrize("way", ["upload", "download"])
def test_a_limit_is_the_nearest_one_that_is_named(tmp_path: Path, way: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"limit_{way} = 500")
    variable = f"BACKAPP_LIMIT_{way.upper()}"

    def chosen(given: Rate | None = None, said: str = "") -> int | None:
        choices = Choices(config=str(file), environment={variable: said})
        setattr(choices, f"limit_{way}", given)
        rate: Rate = getattr(read_settings(choices), f"limit_{way}")
        return rate.bytes_per_second

    assert chosen() == 500 * 1024
    assert chosen(said="2M") == 2 << 20
    assert chosen(said="0") is None
    assert chosen(Rate(4096), "2M") == 4096
    assert chosen(Rate(), "2M") is None
    file.write_text(f"limit_{way} = '1.5 MiB/s'")
    assert chosen() == 3 << 19
    for nonsense in ("true", "1.5", "-1", "'2 MB a day'"):
        file.write_text(f"limit_{way} = {nonsense}")
        with pytest.raises(InvalidSettings, match=f"limit_{way}: .*(is no rate|expected text or)"):
            chosen()
    with pytest.raises(InputError, match=rf"^\${variable}: 'fast' is no rate; write it like 500"):
        read_settings(Choices(environment={variable: "fast"}))
    unlimited = read_settings(Choices(environment={}))
    assert (unlimited.limit_upload, unlimited.limit_download) == (Rate(), Rate())


def test_no_settings_file_is_fine_unless_it_is_named(tmp_path: Path) -> None:
    assert read_settings(Choices(environment={})) == Settings()
    with pytest.raises(InvalidSettings, match="does not exist"):
        read_settings(Choices(config=str(tmp_path / "none"), environment={}))
    with pytest.raises(InvalidSettings, match="directory"):
        read_settings(Choices(config=str(tmp_path), environment={}))


def test_the_settings_file_of_the_user_is_found(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "home" / "config" / "backapp"
    folder.mkdir(parents=True)
    (folder / "backapp.toml").write_text("repository = '/mine'")
    assert read_settings(Choices(environment={})).repository == "/mine"


def test_a_traceback_has_to_be_asked_for() -> None:
    assert not wants_traceback(Choices(environment={}))
    assert wants_traceback(Choices(is_debug=True, environment={}))
    assert wants_traceback(Choices(environment={"BACKAPP_DEBUG": "1"}))


def test_a_dumb_terminal_is_none(monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert has_terminal(Choices(environment={"TERM": "xterm"}))
    assert not has_terminal(Choices(environment={"TERM": "dumb"}))
    assert not has_terminal(Choices(environment={}))
