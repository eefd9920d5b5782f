"""Repositories in a bucket: both archivers, from the command line, and restic on the same one."""

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

_numbers = itertools.count()


class Desk:
    """A source, an address, and programs that are given both, the keys and the password."""

    def __init__(self, folder, gateway, bucket):
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir()
        self.address = f"s3:{gateway.endpoint}/{bucket}/repository-{next(_numbers)}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": gateway.owner[0],
            "AWS_SECRET_ACCESS_KEY": gateway.owner[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "BACKAPP_PASSWORD": "only for trying",
            "RESTIC_PASSWORD": "only for trying",
        }
        chance = random.Random(1)
        for number in range(20):
            (self.source / f"file-{number}").write_bytes(chance.randbytes(number * 1000))
        (self.source / "large").write_bytes(chance.randbytes(20 << 20))

    def backapp(self, *arguments, fails=False):
        return self._run([sys.executable, "-m", "backapp_cli"], *arguments, fails=fails)

    def restic(self, *arguments):
        return self._run(["restic"], *arguments)

    def _run(self, program, verb, *arguments, fails=False):
        done = subprocess.run(
            [*program, verb, "-r", self.address, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        assert bool(done.returncode) == fails, done.stdout + done.stderr
        assert self.environment["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def comes_back(self, restore, place):
        target = self.folder / place
        restore("restore", "latest", "--target", target)
        subprocess.run(["diff", "-r", self.source, f"{target}{self.source}"], check=True)
        shutil.rmtree(target)


@pytest.fixture
def desk(tmp_path, gateway, bucket):
    return Desk(tmp_path, gateway, bucket)


@pytest.mark.parametrize("archiver", ["restic", "targz"])
def test_a_repository_lives_in_a_bucket(desk, archiver):
    made = desk.backapp("init", "--archiver", archiver)
    assert desk.address in made
    assert "the store enforces: that an object is not replaced, the length" in made
    desk.backapp("backup", desk.source)
    (desk.source / "file-3").write_text("changed")
    (desk.source / "file-4").unlink()
    desk.backapp("backup", desk.source)
    assert "no damage found" in desk.backapp("check", "--read-data")
    desk.comes_back(desk.backapp, "restored")
    desk.backapp("forget", "--keep-last", "1", "--prune")
    assert "1 snapshot," in desk.backapp("check", "--read-data")
    desk.comes_back(desk.backapp, "again")
    assert "exists at" in desk.backapp("init", "--archiver", archiver, fails=True)


def test_the_doctor_says_what_is_enforced_and_remembers_it(desk):
    desk.backapp("init")
    remembered = desk.backapp("doctor")
    assert "enforced: that an object is not replaced, the length that was signed" in remembered
    shutil.rmtree(desk.folder / ".local" / "state" / "backapp" / "enforcements")
    assert "enforced" not in desk.backapp("doctor")
    assert "enforced: that an object" in desk.backapp("doctor", "--write-test")
    assert "enforced: that an object" in desk.backapp("doctor")


def test_restic_goes_on_where_we_left_off_and_the_other_way_round(desk):
    desk.backapp("init", "-o", "chunker=rabin")
    desk.backapp("backup", desk.source)
    assert "no errors were found" in desk.restic("check", "--read-data")
    desk.comes_back(desk.restic, "by-restic")
    (desk.source / "file-3").write_text("changed")
    told = [json.loads(line) for line in desk.restic("backup", "--json", desk.source).splitlines()]
    summary = next(one for one in told if one["message_type"] == "summary")
    assert (summary["files_changed"], summary["files_unmodified"]) == (1, 20)
    assert "no damage found" in desk.backapp("check", "--read-data")
    desk.comes_back(desk.backapp, "by-us")
    desk.restic("forget", "--keep-last", "1", "--prune")
    shutil.rmtree(desk.folder / ".local" / "state")  # it remembers what restic took away
    assert "1 snapshot," in desk.backapp("check", "--read-data")


def test_the_commands_of_the_page_on_s3_work(desk):
    page = (Path(__file__).parents[3] / "docs/how-to/use-s3.md").read_text()
    script = re.search(r"<!-- run: on a gateway -->\n```sh\n(.*?)```", page, re.DOTALL)[1]
    script = (
        script.replace("my-key", desk.environment["AWS_ACCESS_KEY_ID"])
        .replace("my-secret", desk.environment["AWS_SECRET_ACCESS_KEY"])
        .replace("s3:https://ceph.example.org/backups/laptop", desk.address)
    )
    (desk.folder / ".backup-password").write_text("only for trying\n")
    desk.source.rename(desk.folder / "documents")
    environment = {
        "HOME": str(desk.folder),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(["bash", "-ec", script], check=True, env=environment, cwd=desk.folder)
    documents = desk.folder / "documents"
    restored = f"{desk.folder}/restored{documents}"
    subprocess.run(["diff", "-r", documents, restored], check=True)


def test_what_restic_made_is_opened(desk):
    desk.restic("init")
    desk.restic("backup", desk.source)
    desk.comes_back(desk.backapp, "by-us")
    told = desk.backapp("backup", desk.source)
    assert "21 unmodified" in told
    desk.backapp("forget", "--keep-last", "1", "--prune")
    assert "no errors were found" in desk.restic("check", "--read-data")
    desk.comes_back(desk.restic, "by-restic")
