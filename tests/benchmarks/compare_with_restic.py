"""Times whole processes of backapp beside restic and Borg, in turn, and prints a table.

    python tests/benchmarks/compare_with_restic.py --runs 3 --borg /opt/borg14/bin/borg

Without --tree it copies 100,000 files and at most 2 GB from this machine (`make_tree.py --copy`);
a given tree is copied, too, for files of it are changed. Repositories, caches and sources are on
one disk (--work), restores go to a tmpfs, for disks swing with write-back. What was written is
synchronised before each process, and sources are in the system's cache, or with --cold (for root)
nothing is, for all alike.

Compared is like with like:

* backapp and restic use the same format, and their keys cost the same to derive: restic, which
  chooses another cost every time, gets a key with ours. Borg encrypts (AES-CTR, HMAC-SHA256), and
  compresses with zstd at level 3 as the others do.
* Each has its own caches, which are warm but for first backups.
* All of them verify every piece of content when they restore, and check everything that is stored
  (`check --read-data`, `borg check --verify-data`). restic's --verify, which reads what was
  restored once more, is not used.
* Space is freed at once: `forget --prune`, `borg prune` and `borg compact`.

Ratios are ours by theirs, pair by pair; what their median may not exceed stands beside them.
"""

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import evolve
from backup_programs import Backapp, Borg, Program, Restic, emptied
from measuring import Timed, spread, timed, together

SNAPSHOTS = 10
MOST_MEMORY = 1.3
MOST_STORED = 1.03
MOST_OF_TAR = 1.5


class Bench:
    """All programs at work on one tree."""

    def __init__(
        self, programs: Sequence[Program], tree: Path, work: Path, fast: Path, *, is_cold: bool
    ) -> None:
        self._programs = programs
        self._tree = tree
        self._work = work
        self._fast = fast
        self._is_cold = is_cold
        self._chance = random.Random(11)

    def place(self, program: Program) -> Path:
        """Return where the program's main repository is."""
        return self._work / program.name

    def in_turn(
        self, what: str, runs: int, once: Callable[[Program], Timed], before: Callable[[], None]
    ) -> dict[str, list[Timed]]:
        """Let each program do one thing, one after the other, as often as asked; show what it took.

        Args:
            what: Name of the row.
            runs: How often.
            once: Lets a program do it.
            before: Called before each round.
        """
        taken: dict[str, list[Timed]] = {program.name: [] for program in self._programs}
        for _ in range(runs):
            before()
            for program in self._programs:
                taken[program.name].append(once(program))
        for name, times in taken.items():
            show(what, name, times)
            what = ""
        return taken

    def timed(self, program: Program, place: Path, command: list[str], folder: Path) -> Timed:
        """Run a command on a machine at rest."""
        os.sync()
        if self._is_cold:
            Path("/proc/sys/vm/drop_caches").write_text("3")
        return timed(command, env=program.environment(place), cwd=folder)

    def first_backup(self, program: Program, source: Path | None = None) -> Timed:
        """Back up into a new repository."""
        place = self.place(program)
        program.create(place)
        return self.backup(program, source)

    def backup(self, program: Program, source: Path | None = None) -> Timed:
        """Back up once more."""
        place = self.place(program)
        return self.timed(program, place, program.backup(place, source or self._tree), self._work)

    def restore(self, program: Program) -> Timed:
        """Restore the newest snapshot onto the tmpfs."""
        place, target = self.place(program), emptied(self._fast / "restored")
        try:
            return self.timed(program, place, program.restore(place, target), target)
        finally:
            shutil.rmtree(target)

    def check(self, program: Program) -> Timed:
        """Read and verify everything."""
        place = self.place(program)
        return self.timed(program, place, program.check(place), self._work)

    def forget(self, program: Program) -> Timed:
        """Remove half of the snapshots of a copy of the repository, and free the space."""
        place, copy = self.place(program), self._work / "copy" / program.name
        shutil.rmtree(copy, ignore_errors=True)
        copy.parent.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", str(place), str(copy)], check=True)
        commands = program.forget(copy, SNAPSHOTS // 2)
        taken = together([self.timed(program, copy, one, self._work) for one in commands])
        key_seconds = program.key_seconds(copy)
        shutil.rmtree(copy)
        return evolve(taken, seconds=taken.seconds - key_seconds)

    def tar(self) -> Timed:
        """Pack the tree as tar and zstd do it."""
        os.sync()
        pack = 'tar -cf - "$0" | zstd -q -3 -T2 -f -o tree.tar.zst'
        return timed(["sh", "-c", pack, self._tree.name], cwd=self._work)

    def change(self) -> None:
        """Write other bytes into one per cent of the files."""
        files = sorted(path for path in self._tree.rglob("*") if is_plain(path))
        for path in self._chance.sample(files, len(files) // 100):
            path.write_bytes(self._chance.randbytes(path.stat().st_size))
        settle()

    def warm_up(self) -> None:
        """Read the tree once, and let Python compile all modules that are used."""
        for path in self._tree.rglob("*"):
            if is_plain(path):
                with path.open("rb") as file:
                    while file.read(1 << 20):
                        pass
        little = emptied(self._work / "little")
        (little / "file").write_bytes(b"content")
        for program in self._programs:
            self.first_backup(program, little)
            self.restore(program)
            self.check(program)
            for command in program.forget(self.place(program), 1):
                program.run(self.place(program), command)


def run(bench: Bench, programs: Sequence[Program], runs: int, big: Path) -> None:
    """Print the table."""
    bench.warm_up()
    print(f"  {'':<50}{'min':>8} {'median':>8} {'max':>8}")
    first = bench.in_turn("first backup", runs, bench.first_backup, lambda: None)
    verdicts(first, restic=0.40, borg=1.0)
    compare_sizes(bench, programs)
    packed = [bench.tar() for _ in range(runs)]
    show("tar | zstd -3 -T2", "tar", packed)
    ratio("first backup by tar", pairs(first["backapp"], packed), MOST_OF_TAR)
    settle()
    again = bench.in_turn("unchanged backup", runs, bench.backup, lambda: None)
    verdicts(again, restic=0.35, borg=1.0)
    changed = bench.in_turn("1 % changed", runs, bench.backup, bench.change)
    verdicts(changed, restic=0.40, borg=1.0)
    verdicts(bench.in_turn("restore", runs, bench.restore, lambda: None), restic=0.60, borg=1.0)
    verdicts(bench.in_turn("check", runs, bench.check, lambda: None), restic=0.60, borg=1.0)
    for program in programs:
        bench.first_backup(program)
    for _ in range(SNAPSHOTS - 1):
        bench.change()
        for program in programs:
            bench.backup(program)
    forgotten = bench.in_turn("forget 5 of 10, less key", runs, bench.forget, lambda: None)
    verdicts(forgotten, restic=0.60)
    one_file = bench.in_turn(
        "first backup, 4 GiB file", runs, lambda one: bench.first_backup(one, big), lambda: None
    )
    verdicts(one_file, restic=0.60)


def show(what: str, name: str, times: Sequence[Timed]) -> None:
    """Print what a program took."""
    cpu = statistics.median(each.cpu_seconds for each in times)
    peak = max(each.peak_megabytes for each in times)
    print(
        f"  {what:<28}{name:<22}{spread([each.seconds for each in times])} s"
        f"{cpu:8.2f} s cpu{peak:6.0f} MB peak",
        flush=True,
    )


def verdicts(taken: dict[str, list[Timed]], **limits: float) -> None:
    """Print the ratios of a row, and what they may be at most."""
    ours = taken["backapp"]
    for name, limit in limits.items():
        if name in taken:
            ratio(f"by {name}", pairs(ours, taken[name]), limit)
    peaks = [max(each.peak_megabytes for each in taken[name]) for name in ("backapp", "restic")]
    ratio("peak memory by restic", [peaks[0] / peaks[1]], MOST_MEMORY)


def pairs(ours: Sequence[Timed], theirs: Sequence[Timed]) -> list[float]:
    """Return how much longer ours took, run by run."""
    return [one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True)]


def ratio(what: str, ratios: Sequence[float], limit: float) -> None:
    """Print ratios and what they may be at most."""
    word = "EXCEEDED" if statistics.median(ratios) > limit else ""
    print(f"  {'':<28}{what:<22}{spread(ratios)}   at most {limit:.2f} {word}", flush=True)


def compare_sizes(bench: Bench, programs: Sequence[Program]) -> None:
    """Print what first backups take on the disk."""
    stored = {program.name: program.stored_bytes(bench.place(program)) for program in programs}
    for name, size_bytes in stored.items():
        print(f"  {'stored':<28}{name:<22}{size_bytes / 1e6:8.1f} MB")
    ratio("by restic", [stored["backapp"] / stored["restic"]], MOST_STORED)


def is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def settle() -> None:
    """Wait until no file is so young that it is read again to be safe."""
    time.sleep(2.5)


def describe(programs: Sequence[Program], tree: Path, work: Path) -> None:
    """Print what is compared, and where."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    sizes = [path.stat().st_size for path in tree.rglob("*") if is_plain(path)]
    print(f"{len(sizes):,} files, {sum(sizes) / 1e9:.2f} GB")
    for program in programs:
        print(f"{program.name}: {program.version()}")
    for program in programs:
        if isinstance(program, Restic):
            program.create(work / "key")
            print(f"key of {program.name}: {program.key_cost(work / 'key')}")


def make_source(chosen: argparse.Namespace, tree: Path, big: Path) -> None:
    """Make the tree and the large file, in processes of their own: see `Timed.peak_megabytes`."""
    if chosen.tree is not None:
        subprocess.run(["cp", "-a", f"{chosen.tree}/.", str(tree)], check=True)
    else:
        maker = str(Path(__file__).with_name("make_tree.py"))
        size = ["--files", str(chosen.files), "--bytes", str(chosen.bytes)]
        subprocess.run([sys.executable, maker, str(tree), "--copy", *size], check=True)
    with big.open("wb") as file:
        noise = ["head", "-c", str(int(chosen.big)), "/dev/urandom"]
        subprocess.run(noise, stdout=file, check=True)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tree", type=Path, help="an existing tree instead of a made one")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--bytes", type=float, default=2e9)
    parser.add_argument("--big", type=float, default=4 << 30, help="size of the large file")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--borg", default="borg", help="the program; '' leaves Borg out")
    parser.add_argument("--cold", action="store_true", help="drop the system's caches (for root)")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--tmpfs", type=Path, default=Path("/dev/shm"))
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="backapp-bench-", dir=chosen.work) as folder,
        tempfile.TemporaryDirectory(prefix="backapp-bench-", dir=chosen.tmpfs) as fast,
    ):
        work = Path(folder)
        tree, big = work / "tree", work / "big"
        programs: list[Program] = [Backapp(work / "compiled"), Restic()]
        if chosen.borg:
            programs.append(Borg(chosen.borg))
        make_source(chosen, tree, big)
        describe(programs, tree, work)
        bench = Bench(programs, tree, work, Path(fast), is_cold=chosen.cold)
        run(bench, programs, chosen.runs, big)


if __name__ == "__main__":
    main()
