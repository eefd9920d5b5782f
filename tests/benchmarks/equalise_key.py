"""Gives a repository in restic's format a key that costs as much to derive as one of ours.

    python tests/benchmarks/equalise_key.py REPOSITORY PASSWORD

The key that it had is removed. With --only-time nothing is changed; said is how many seconds it
takes to derive the key that is there.
"""

import argparse
import hashlib
import os
import statistics
import timeit
from datetime import UTC, datetime
from pathlib import Path

from backapp_plugins.archivers.restic.access.key_files import (
    decode_key_file,
    open_master_key,
    seal_master_key,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("repository", type=Path)
    parser.add_argument("password")
    parser.add_argument("--only-time", action="store_true")
    chosen = parser.parse_args()
    [path] = (chosen.repository / "keys").iterdir()
    password = chosen.password.encode()
    key = decode_key_file(path.read_bytes())
    if chosen.only_time:
        print(statistics.median(timeit.repeat(lambda: open_master_key(key, password), number=1)))
        return
    master = open_master_key(key, password)
    assert master is not None, "the password is another one"
    content = seal_master_key(
        master, password, os.urandom, created_at=datetime.now(UTC), username="", hostname=""
    )
    (path.parent / hashlib.sha256(content).hexdigest()).write_bytes(content)
    path.unlink()


if __name__ == "__main__":
    main()
