"""Times backups of an agent without keys beside the same engine straight on the bucket, in turn.

    python tests/benchmarks/compare_through_grants.py --runs 3

Everything is real: Ceph's gateway, a server on SQLite, an agent as a process of its own. Each
backup fills a new repository in the same bucket with the same tree; creating it counts. What the
agent took is what the server says, from the run's beginning to its end, so it holds lease, report
and receipt; what the engine took is measured in this process. The first pair warms both up.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from make_tree import make_tree
from measuring import spread

sys.path += [str(Path(__file__).parents[1] / name) for name in ("services", "end_to_end")]

from ceph_gateway import running_gateway
from story_parts import Machine, Server, free_port
from story_person import Person

from backapp_core import Keys, assemble
from backapp_core.settings import Settings

WANTED = 1.2
SETTINGS = """\
state_folder = "{folder}/state"
cache_folder = "{folder}/cache"
[server]
tick_seconds = 1
[server.buckets]
ours = "{bucket}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--bytes", type=float, default=3e8)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="backapp-grants-"))
    try:
        tree = folder / "tree"
        make_tree(tree, files=chosen.files, total_bytes=int(chosen.bytes))
        with running_gateway(folder / "ceph") as gateway:
            compare(folder, gateway, tree, chosen.runs)
    finally:
        shutil.rmtree(folder)


def compare(folder: Path, gateway, tree: Path, runs: int) -> None:
    gateway.client().create_bucket(Bucket="benchmark")
    bucket = f"s3:{gateway.endpoint}/benchmark"
    keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), gateway.owner, strict=True))
    os.environ |= keys
    place = folder / "server"
    settings = SETTINGS.format(folder=place, bucket=bucket)
    server = Server("server", place, free_port(), settings, keys).begin()
    machine = Machine("machine", folder / "machine")
    try:
        person = Person(server.url).join(server.first_link)
        machine.enrol(person.allow("machine"), folder / "restored")
        machine.begin()
        through, straight = [], []
        for number in range(runs + 1):
            through.append(through_grants(person, f"r{number}", tree))
            straight.append(straight_on(f"{bucket}/straight-{number}", tree, folder))
    finally:
        for part in (machine, server):
            if part.process:
                part.process.kill()
    ratios = [ours / theirs for ours, theirs in zip(through, straight, strict=True)][1:]
    print(f"through grants {spread(through[1:])} s")
    print(f"straight on s3 {spread(straight[1:])} s")
    print(f"ratio          {spread(ratios)}   at most {WANTED}")
    print("fine" if statistics.median(ratios) <= WANTED else "too slow")


def through_grants(person: Person, name: str, tree: Path) -> float:
    """Return how many seconds the machine takes for the first backup into a new repository."""
    person.add_repository(name, "machine", bucket="ours")
    person.add_job(name, name, tree)
    run = person.completed(person.run_now(name))
    ended, started = (datetime.fromisoformat(run[one]) for one in ("ended_at", "started_at"))
    return (ended - started).total_seconds()


def straight_on(address: str, tree: Path, folder: Path) -> float:
    """Return how many seconds the engine takes for the same with the bucket's keys."""
    plain = {"state_folder": f"{folder}/own/state", "cache_folder": f"{folder}/own/cache"}
    keys = Keys(password=lambda: "only for trying")
    with assemble(Settings.parse(plain)) as engine:
        began = time.perf_counter()
        with engine.create_repository(
            address, archiver="restic", options={}, keys=keys
        ) as repository:
            engine.backup(repository, [tree])
        return time.perf_counter() - began


if __name__ == "__main__":
    main()
