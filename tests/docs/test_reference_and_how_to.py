"""The pages on settings, events and plugins say what the code says."""

import re
import tomllib
from pathlib import Path

import attrs
import pytest

from backapp_core import events
from backapp_core.settings import PluginSettings, RepositorySettings, ServerSettings, Settings
from backapp_plugins.transports.s3 import S3Options

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs/how-to/write-a-plugin.md"
INCLUDED = re.compile(r"<!-- include: (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)


def test_every_file_of_the_sample_is_shown_as_it_is():
    shown = dict(INCLUDED.findall(HOW_TO.read_text()))
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests/sample_plugin").rglob("*")
        if path.suffix in {".py", ".toml"} and "__pycache__" not in path.parts
    }
    assert set(shown) == files
    for name, text in shown.items():
        assert text == (ROOT / name).read_text(), f"{name} differs from what the how-to shows"


@pytest.mark.parametrize(
    ("kind", "heading"),
    [
        (Settings, "## At the top"),
        (RepositorySettings, "## `[repositories.NAME]`"),
        (PluginSettings, "## `[plugins]`"),
        (ServerSettings, "## `[server]`"),
        (S3Options, "## `[transports.s3]`"),
    ],
)
def test_every_setting_has_its_row(kind, heading):
    page = (ROOT / "docs/reference/settings.md").read_text()
    section = page.partition(heading)[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` ", section, re.MULTILINE)
    tables = {"repositories", "plugins", "notifiers", "transports", "server"}
    assert sorted(rows) == sorted(set(attrs.fields_dict(kind)) - tables)


def test_example_settings_are_understood():
    page = (ROOT / "docs/reference/settings.md").read_text()
    example = re.search(r"<!-- settings: example -->\n```toml\n(.*?)```", page, re.DOTALL)[1]
    settings = Settings.parse(tomllib.loads(example))
    assert settings.repository_at().url == "/srv/backup"


def test_every_event_has_its_row_with_all_fields():
    page = (ROOT / "docs/reference/events.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    expected = {
        kind.__name__: ", ".join(f"`{name}`" for name in attrs.fields_dict(kind))
        for kind in events.Event.__args__
    }
    assert rows == expected
    for word in (*events.Verb, *events.Level):
        assert f"`{word}`" in page


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs/reference/roles").glob("*.md")), ids=lambda page: page.stem
)
def test_page_of_a_role_shows_a_class_that_inherits_the_kit(page):
    section = page.read_text(encoding="utf-8").partition("## Conformance")[2]
    example = re.search(r"<!-- run -->\n```python\n(.*?)```", section, re.DOTALL)[1]
    assert f"import {page.stem.capitalize()}Contract" in example
    assert re.search(rf"class \w+\({page.stem.capitalize()}Contract\):", example)
