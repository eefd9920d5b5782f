"""One server on SQLite, one machine, repositories in folders: the whole way, on real processes."""

from datetime import timedelta

import pytest
from attrs import evolve
from story_parts import wait_for
from story_stages import FolderStage
from story_told import recover, tell

from backapp_core.assembly import assemble_server
from backapp_core.model.schedules import Schedule
from backapp_core.settings import Settings

SETTINGS = """\
state_folder = "{folder}/state"
cache_folder = "{folder}/cache"
[server]
tick_seconds = 0.2
"""

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


class OneServer(FolderStage):
    """Everything belongs to the one account that the tests run as."""

    def __init__(self, house):
        self.house, self.folder = house, house.folder / "server"
        settings = SETTINGS.format(folder=self.folder)
        self.servers = [house.server("server", settings=settings).begin()]
        self.machines = [house.machine("north")]
        self.north.lease = "30"  # it stands still at times, for as long as somebody looks


def test_story_of_one_machine_with_repositories_in_folders(house, visitor):
    stage = OneServer(house)
    [server], north = stage.servers, stage.north
    person = visitor(server.url, width=360, scheme="dark")
    books = tell(stage, person)

    # What was due while there was no server is made up for, once.
    north.process.stop()
    server.process.stop()
    due_while_away(stage)
    server.begin()
    north.begin()
    [made_up] = wait_for(
        lambda: [one for one in stage.facts.runs("north") if one["due_at"]], "what was due"
    )
    stage.facts.completed(made_up["id"])
    stage.check_books(*books, made_up["id"])
    assert len([one for one in stage.facts.runs("north") if one["due_at"]]) == 1

    # With nothing but the sheet and the folder, somebody else has all of it back.
    recover(stage)


def due_while_away(stage):
    """Give the job a schedule whose last moment passed after the server had ended."""
    plain = Settings.parse(
        {"state_folder": f"{stage.folder}/state", "cache_folder": f"{stage.folder}/c"}
    )
    with assemble_server(plain) as server:
        [tenant] = server.fleet.tenants()
        store = server.fleet.tenant(tenant.id)
        job = store.jobs.get("north")
        now = server.fleet.now()
        schedule = Schedule(f"0 {(now.hour + 12) % 24} * * *")
        store.jobs.replace(evolve(job, schedule=schedule, due_after=now - timedelta(days=1)))
