"""The same snapshots and the same policies, decided by restic and by us."""

import json
import os
import random
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from backapp_core.errors import InputError
from backapp_core.model.retention import Retention, Within, decide
from backapp_core.model.snapshots import Snapshot

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed"),
]

COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
WINDOWS = ("", "hourly", "daily", "weekly", "monthly", "yearly")
SPANS = ("1h", "30h", "1d", "8d", "1m", "3m5d", "11m", "1y", "1y6m7d12h", "40y")
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati")
TAGS = ("a", "b", "c")
SNAPSHOTS = 48
POLICIES = 60


def moments():
    """Return times with something to decide for every rule.

    Ends of periods, leap days, bursts, and one of a clock that runs ahead.
    """
    chance = random.Random(20260101)
    at = datetime(2024, 2, 29, 23, 59, 58, tzinfo=UTC)
    chosen = [at, datetime(2021, 1, 3, 12, tzinfo=UTC), datetime(2020, 12, 31, 1, tzinfo=UTC)]
    chosen.append(datetime(2222, 2, 2, tzinfo=UTC))
    steps = (90, 1800, 3600, 5 * 3600, 86400, 86401, 6 * 86400, 7 * 86400, 31 * 86400, 200 * 86400)
    while len(chosen) < SNAPSHOTS:
        at -= timedelta(seconds=chance.choice(steps[:7] if len(chosen) < 30 else steps))
        chosen.append(at)
    return chosen


def policies():
    """Return policies: every rule alone with several values, then mixtures."""
    chance = random.Random(7)
    found = []
    for rule in COUNTS:
        found += [({rule: value}, {}, ()) for value in (1, 4, 400)]
    found += [({}, {window: chance.choice(SPANS)}, ()) for window in WINDOWS for _ in range(2)]
    found += [({}, {}, (("a",),)), ({}, {}, (("a", "b"), ("c",)))]
    while len(found) < POLICIES:
        counts = {rule: chance.choice((1, 2, 5, 30)) for rule in chance.sample(COUNTS, 2)}
        windows = {window: chance.choice(SPANS) for window in chance.sample(WINDOWS, 2)}
        tags = chance.choice(((), (("a",),), (("b", "c"),)))
        found.append((counts, windows, tags))
    return found


@pytest.fixture(scope="module")
def restic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("restic")
    (folder / "src").mkdir()
    environment = {
        **os.environ,
        "RESTIC_REPOSITORY": str(folder / "repo"),
        "RESTIC_PASSWORD": "x",
        "RESTIC_CACHE_DIR": str(folder / "cache"),
    }

    def run(*words, zone="UTC"):
        done = subprocess.run(
            ["restic", "-q", *words],
            env={**environment, "TZ": zone},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("init")
    chance = random.Random(3)
    for at in moments():
        tags = [word for tag in TAGS if chance.random() < 0.3 for word in ("--tag", tag)]
        time = at.strftime("%Y-%m-%d %H:%M:%S")
        source = str(folder / "src")
        run("backup", "--host", "h", "--time", time, *tags, source, zone=chance.choice(ZONES))
    return run


@pytest.fixture(scope="module")
def snapshots(restic):
    return [
        Snapshot(
            id=one["id"],
            taken_at=datetime.fromisoformat(one["time"]).astimezone(UTC),
            hostname=one["hostname"],
            username="",
            roots=(b"/",),
            tags=tuple(one.get("tags") or ()),
            utc_offset_seconds=_offset_seconds(one["time"]),
        )
        for one in json.loads(restic("snapshots", "--json"))
    ]


def _offset_seconds(time):
    offset = datetime.fromisoformat(time).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _is_kept(decision, version):
    """Restic has kept the oldest for a period that nothing else stands in for since 0.16."""
    reasons = decision.reasons
    if version < (0, 16):
        reasons = [reason for reason in reasons if not reason.startswith("oldest ")]
    return bool(reasons)


def test_every_policy_keeps_what_restic_keeps(restic, snapshots):
    assert len(snapshots) == SNAPSHOTS
    version = tuple(map(int, restic("version").split()[1].split(".")[:2]))
    now = datetime.now(UTC)
    differing = []
    for counts, windows, tags in policies():
        words = [f"--keep-{rule}={value}" for rule, value in counts.items()]
        words += [f"--keep-within{'-' * bool(name)}{name}={span}" for name, span in windows.items()]
        words += [f"--keep-tag={','.join(names)}" for names in tags]
        groups = json.loads(restic("forget", "--dry-run", "--json", *words))
        theirs = {one["id"] for group in groups for one in group["keep"] or ()}
        retention = Retention(
            **counts,
            **{
                f"within{'_' * bool(name)}{name}": Within.parse(span)
                for name, span in windows.items()
            },
            tags=tuple(frozenset(names) for names in tags),
        )
        ours = {
            one.snapshot.id
            for one in decide(snapshots, retention, now=now)
            if _is_kept(one, version)
        }
        if ours != theirs:
            differing.append((words, len(ours - theirs), len(theirs - ours)))
    assert differing == []


@pytest.mark.parametrize("text", ["", "1x", "y", "1d1y", "1\x1b[31m\n", "-1d"])
def test_what_is_no_stretch_of_time_is_refused_in_one_printable_line(text):
    with pytest.raises(InputError, match="is no duration; write it like 1y6m7d12h") as caught:
        Within.parse(text)
    assert caught.value.message.isprintable()
