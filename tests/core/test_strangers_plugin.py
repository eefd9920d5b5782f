"""A stranger's distribution is built, installed and used by name; a broken one is one sentence."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from backapp_core import processes

pytestmark = pytest.mark.thorough

SAMPLE = Path(__file__).parents[1] / "sample_plugin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(SAMPLE)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return a folder that holds the sample as pip installs it."""
    folder = tmp_path_factory.mktemp("installed")
    words = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder)]
    words += ["--disable-pip-version-check", "--root-user-action", "ignore", str(wheel)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def run(code, *folders):
    """Run ``code`` in a new interpreter that finds what is installed in ``folders``."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_kinds_are_found_by_name_with_the_package_they_come_from(installed):
    done = run(
        """
        import backapp_core, json
        plugins = backapp_core.load_plugins()
        offers = [*plugins.transports.offers, *plugins.notifiers.offers]
        print(json.dumps({o.kind.name: [o.plugin, o.distribution] for o in offers}))
        """,
        installed,
    )
    assert done.returncode == 0, done.stderr
    offers = json.loads(done.stdout)
    assert offers["shelf"] == ["shelf", "backapp-shelf 1.2.3"]
    assert offers["diary"] == ["shelf", "backapp-shelf 1.2.3"]
    assert "folder" in offers


def test_backup_into_a_strangers_transport_comes_back(installed, tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "letter.txt").write_text("dear reader")
    done = run(
        f"""
        import backapp_core
        from pathlib import Path
        here = Path({str(tmp_path)!r})
        settings = backapp_core.Settings(cache_folder=str(here / "c"), state_folder=str(here / "s"))
        engine = backapp_core.assemble(settings)
        keys = backapp_core.Keys(password=lambda: "secret")
        with engine.create_repository(f"shelf:{{here}}/backup.db", keys=keys) as repository:
            engine.backup(repository, [here / "src"])
        with engine.open_repository(f"shelf:{{here}}/backup.db", keys=keys) as repository:
            snapshot = engine.find_snapshot(repository, "latest")
            request = backapp_core.RestoreRequest(here / "back")
            outcome = engine.restore(engine.plan_restore(repository, snapshot, request))
            assert engine.check(repository, read_data=True).is_clean
        print(outcome.is_complete)
        """,
        installed,
    )
    assert done.stdout == "True\n", done.stderr
    back = tmp_path / "back" / str(tmp_path).lstrip("/") / "src" / "letter.txt"
    assert back.read_text() == "dear reader"


def test_strangers_notifier_hears_of_a_failed_job(installed, tmp_path):
    done = run(
        f"""
        import backapp_core
        settings = backapp_core.Settings.parse({{
            "cache_folder": {str(tmp_path / "c")!r}, "state_folder": {str(tmp_path / "s")!r},
            "notifiers": {{"me": {{"kind": "diary", "file": {str(tmp_path / "diary")!r}}}}},
        }})
        with backapp_core.assemble(settings) as engine:
            engine.jobs.add(backapp_core.Job("nightly", {str(tmp_path / "none")!r}, (b"/etc",)))
            print(engine.run_job("nightly").state.value)
        """,
        installed,
    )
    assert done.stdout == "failed\n", done.stderr
    head, *facts = (tmp_path / "diary").read_text().splitlines()
    assert head.endswith(f"] backup 'nightly' on {processes.host_name()} failed")
    assert "  job: nightly" in facts


@pytest.fixture
def broken(tmp_path):
    """Install a plugin with one faulty module, by hand, and return its folder."""

    def broken(code, name="broken"):
        folder = tmp_path / "site"
        info = folder / f"{name}-0.1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[backapp]\n{name} = {name}_module\n")
        (folder / f"{name}_module.py").write_text(textwrap.dedent(code))
        return folder

    return broken


HOOK = """
from backapp_core.plugin_api import TransportKind, hookimpl
@hookimpl
def {name}():
    {body}
"""


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            HOOK.format(
                name="backapp_transports",
                body="return [TransportKind('folder', frozenset({'x'}), str, str, print)]",
            ),
            "both offer a transport called 'folder'",
        ),
        (
            HOOK.format(
                name="backapp_transports",
                body="return [TransportKind('mine', frozenset({''}), str, str, print)]",
            ),
            "both offer a transport for the scheme ''",
        ),
        ("def backapp_transports(): return []", "is not marked with @hookimpl"),
        (HOOK.format(name="backapp_transprots", body="return []"), "a hook that does not exist"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("import nothing_like_it", "cannot be loaded: ModuleNotFoundError"),
        ("raise SystemExit(7)", "cannot be loaded: SystemExit"),
        (HOOK.format(name="backapp_transports", body="return 7"), "returned int"),
        (HOOK.format(name="backapp_transports", body="raise KeyError('x')"), "raised KeyError"),
    ],
)
def test_broken_plugin_is_one_sentence_that_names_it(broken, tmp_path, code, text):
    folder = broken(code)
    door = [sys.executable, "-m", "backapp_cli", "plugins"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "HOME": str(tmp_path)}
    done = subprocess.run(door, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert text in " ".join(done.stderr.split())
    assert "'broken'" in done.stderr
    assert done.stdout == ""


def test_two_packages_with_one_plugin_name_are_both_named(broken):
    folder = broken(HOOK.format(name="backapp_stores", body="return []"))
    info = folder / "other-0.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 0.2\n")
    (info / "entry_points.txt").write_text("[backapp]\nbroken = broken_module\n")
    done = run(
        """
        import backapp_core
        try:
            backapp_core.load_plugins()
        except backapp_core.DuplicatePlugin as error:
            print(error.message)
        """,
        folder,
    )
    assert "both announce a plugin called 'broken'; uninstall one of them" in done.stdout
    assert "broken 0.1" in done.stdout
    assert "other 0.2" in done.stdout


@pytest.mark.parametrize(
    ("parse", "opened", "text"),
    [
        ("lambda _: 1 / 0", "print", "raised ZeroDivisionError in 'parse' of its transport 'odd'"),
        ("str", "lambda *_: None", "returned NoneType from 'open' of its transport 'odd'"),
    ],
)
def test_plugin_that_fails_when_it_is_used_is_one_sentence_that_names_it(
    broken, tmp_path, parse, opened, text
):
    kind = f"TransportKind('odd', frozenset({{'odd'}}), str, {parse}, {opened})"
    folder = broken(HOOK.format(name="backapp_transports", body=f"return [{kind}]"))
    door = [sys.executable, "-m", "backapp_cli", "snapshots", "-r", "odd:place"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "HOME": str(tmp_path)}
    done = subprocess.run(door, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"plugin 'broken' {text}" in " ".join(done.stderr.split())


def test_broken_plugin_can_be_disabled(broken):
    folder = broken("1 / 0")
    done = run(
        """
        import backapp_core
        settings = backapp_core.Settings.parse({"plugins": {"disabled": ["broken"]}})
        print(len(backapp_core.load_plugins(settings).transports.kinds) > 0)
        """,
        folder,
    )
    assert done.stdout == "True\n", done.stderr
