"""What the stories are told with; the logs of every process stand in the report of a failure."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from story_parts import Machine, Server, free_port
from story_wire import Front

pytest.register_assert_rewrite("story_told")


class House:
    """Everything that a story has brought up; taken down at its end."""

    def __init__(self, folder, outside):
        self.folder = folder
        self.outside = outside
        """A folder that other accounts may enter."""
        self.parts = []
        self.fronts = []

    def server(self, name, *, port=None, **others):
        port = port or free_port()
        self.parts.append(Server(name, self.folder / name, port, **others))
        return self.parts[-1]

    def machine(self, name, account=None):
        self.parts.append(Machine(name, self.outside / name, account))
        return self.parts[-1]

    def front(self, *targets):
        self.fronts.append(Front(targets))
        return self.fronts[-1]

    def close(self):
        for part in self.parts:
            if part.process:
                part.process.kill()
        for front in self.fronts:
            front.close()


@pytest.fixture
def house(tmp_path):
    outside = Path(tempfile.mkdtemp(prefix="backapp-story-"))
    outside.chmod(0o711)
    house = House(tmp_path, outside)
    yield house
    house.close()
    shutil.rmtree(outside)


@pytest.fixture
def visitor(chromium, tmp_path):
    """Have somebody use a browser, of which the look is named; nothing may be wrong with a page."""
    from story_browser import Visitor  # where there is no Chromium, its library may be missing too

    pictures = Path(os.environ.get("BACKAPP_ARTEFACTS") or tmp_path / "pictures")
    visitors = []

    def come(url, **look):
        visitors.append(Visitor(chromium, url, pictures, **look))
        return visitors[-1]

    yield come
    for one in visitors:
        one.close()
    assert [one.complaints for one in visitors if one.complaints] == []


@pytest.fixture
def accounts():
    """Numbers of two accounts that are not the one the tests run as."""
    if os.geteuid() != 0:
        pytest.skip("machines with accounts of their own need root to start them")
    return 1, 65534


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    house = item.funcargs.get("house") if hasattr(item, "funcargs") else None
    if house is not None and report.when == "call" and report.failed:
        for part in house.parts:
            report.sections.append((f"log of {part.name}", part.log[-20_000:]))
    return report
