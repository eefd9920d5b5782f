"""What a machine takes for the repository that it is to make, and what it leaves alone."""

import json
import os
import shutil
from pathlib import Path

import pytest
from attrs import evolve

from backapp_core.engine.agent_repositories import AgentRepositories
from backapp_core.engine.opening import create_repository
from backapp_core.errors import RepositoryExists, StoreUnavailable
from backapp_core.ports.surroundings import Keys
from backapp_core.testing.fakes import make_surroundings

KEYS = Keys(password=lambda: "of somebody else")
CONFIG = {"restic": "config", "targz": "backapp.json"}


class Forgetful:
    """The work of a server that was restored to a state before a repository was made."""

    def __init__(self, work, before):
        self._work = work
        self._before = before

    def repository(self, repository_id):
        return self._before if repository_id == self._before.id else None

    def __getattr__(self, name):
        return getattr(self._work, name)


@pytest.fixture
def around(tmp_path):
    return evolve(make_surroundings(tmp_path / "around"), random_bytes=os.urandom)


@pytest.fixture
def machine(site):
    """Return a function: what this machine does with its repositories, through a line or not."""

    def machine(work=None):
        return AgentRepositories(site.plugins, work or site.work, site.folder / "agent")

    return machine


@pytest.fixture(params=sorted(CONFIG))
def wanted(request, site):
    """A repository that the machine is to make in a folder."""
    wanted = evolve(
        site.repository, id="d" * 32, name="own", address=str(site.folder / "own"),
        archiver=request.param,
    )  # fmt: skip
    site.tenant.repositories.add(wanted)
    return wanted


def stored(wanted):
    paths = (path for path in Path(wanted.address).rglob("*") if path.is_file())
    return {str(path.relative_to(wanted.address)): path.read_bytes() for path in paths}


def made_by_somebody(site, around, wanted, archiver):
    create_repository(
        site.plugins, around, wanted.address, archiver=archiver, options={}, keys=KEYS
    ).repository.close()


@pytest.fixture
def interrupted(machine, around, line, site, wanted):
    """The machine has made the repository, and could not tell the server any more."""
    cut = line(site.work, "report_created")
    cut.is_cut = True
    with pytest.raises(StoreUnavailable):
        machine(cut).open_or_create(around, wanted)
    return stored(wanted)


@pytest.mark.parametrize("archiver", sorted(CONFIG))
def test_repository_of_somebody_else_is_neither_filled_nor_changed(
    machine, around, site, wanted, archiver
):
    made_by_somebody(site, around, wanted, archiver)
    before = stored(wanted)
    with pytest.raises(RepositoryExists) as refusal:
        machine().open_or_create(around, wanted)
    assert wanted.address in refusal.value.message
    assert "not what this machine made for 'own'" in refusal.value.message
    assert "another place" in refusal.value.message
    assert stored(wanted) == before
    assert site.tenant.repositories.get(wanted.id).initialised_at is None


def test_repository_that_takes_the_place_of_ones_own_is_left_alone(
    machine, around, site, wanted, interrupted
):
    shutil.rmtree(wanted.address)
    made_by_somebody(site, around, wanted, wanted.archiver)
    before = stored(wanted)
    with pytest.raises(RepositoryExists, match="not what this machine made for 'own'"):
        machine().open_or_create(around, wanted)
    assert stored(wanted) == before


@pytest.mark.parametrize("is_complete", [True, False])
def test_creation_of_ones_own_that_was_interrupted_is_carried_on(
    machine, around, site, wanted, interrupted, is_complete
):
    if not is_complete:
        (Path(wanted.address) / CONFIG[wanted.archiver]).unlink()
    with machine().open_or_create(around, wanted).repository as repository:
        made = repository.info.id
    assert stored(wanted).items() >= interrupted.items()
    assert site.tenant.repositories.get(wanted.id).repository_id == made
    assert not list((site.folder / "agent" / "new").iterdir())


def test_repository_that_the_server_has_forgotten_is_taken_over(machine, around, site, wanted):
    with machine().open_or_create(around, wanted).repository as repository:
        made = repository.info.id
    with (
        machine(Forgetful(site.work, wanted))
        .open_or_create(around, wanted)
        .repository as repository
    ):
        assert repository.info.id == made
    kept = site.folder / "agent" / "repositories" / f"{wanted.id}.json"
    assert json.loads(kept.read_bytes())["repository_id"] == made
