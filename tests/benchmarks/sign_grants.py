"""Says how many objects a second one core signs for an agent, from the store to the URL.

    python tests/benchmarks/sign_grants.py [--batch 500] [--seconds 5]

Nothing is sent anywhere: signing asks nobody. At least 1,000 a second are wanted.
"""

import argparse
import hashlib
import os
import tempfile
import time
from pathlib import Path

from attrs import evolve

from backapp_core.clock import SystemClock
from backapp_core.engine.buckets import Buckets
from backapp_core.engine.grant import Desk
from backapp_core.manager import PluginManager
from backapp_core.model.grants import WriteWish
from backapp_core.model.jobs import Job
from backapp_core.model.work import Hold
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.fleet_fixtures import claimed, make_machine, sees_all
from backapp_plugins.stores.sql import open_fleet

BUCKET = "s3:http://127.0.0.1:9/bucket"
WANTED = 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5)
    chosen = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    with tempfile.TemporaryDirectory() as folder:
        surroundings = make_surroundings(Path(folder), clock=SystemClock())
        plugins = PluginManager.load()
        with (
            open_fleet(f"sqlite://{folder}/fleet.db", surroundings) as fleet,
            Buckets(plugins, surroundings, [BUCKET]) as buckets,
        ):
            machine = make_machine(fleet)
            address = buckets.address_for(BUCKET, 1, "0f" * 16)
            added = evolve(machine.repository, id="0f" * 16, name="own", address=address)
            machine.store.repositories.add(added)
            machine.store.jobs.add(Job("job", f"backapp:{added.id}", (b"/",), agent_id=machine.id))
            machine.run(job_name="job")
            claim = claimed(machine.store.work(machine.id, sees_all))
            hold = Hold(claim.run.id, claim.fence)
            desk = Desk(machine.store, machine.id, buckets, plugins.archivers, hold=hold)
            wishes = [wish(number) for number in range(chosen.batch)]
            names = [one.name for one in wishes]
            for what, sign in (
                ("writes", lambda: desk.grant_writes(added.id, wishes)),
                ("reads", lambda: desk.grant_reads(added.id, names)),
            ):
                print(f"{what:7} {rate(sign, chosen.batch, chosen.seconds):8.0f} a second")
    print(f"wanted  {WANTED:8.0f} a second")


def wish(number: int) -> WriteWish:
    body = number.to_bytes(8, "big")
    digest = hashlib.sha256(body).hexdigest()
    name = f"data/{digest[:2]}/{digest}"
    return WriteWish(name, 16 << 20, digest, hashlib.md5(body).hexdigest())


def rate(sign, batch: int, seconds: float) -> float:
    """Return objects per second of processor time: the machine may have other things to do."""
    sign()
    began = time.process_time()
    signed = 0
    while time.process_time() - began < seconds:
        sign()
        signed += batch
    return signed / (time.process_time() - began)


if __name__ == "__main__":
    main()
