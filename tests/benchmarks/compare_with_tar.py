"""Times whole processes of backapp beside tar and find, in turn, on one tree, and prints a table.

    python tests/benchmarks/compare_with_tar.py --runs 3

Without --tree it makes the tree of `make_tree.py` (100,000 files, 2 GB). The restore goes to a
tmpfs (/dev/shm), for disks swing with write-back. Ratios are ours by theirs, pair by pair; what may
not be exceeded stands beside them. Modules are compiled before anything is timed, as they are where
backapp is installed.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define, field
from measuring import Timed, spread, timed

MOST_MEGABYTES = 250


@define
class Row:
    """One comparison: pairs of ours and theirs."""

    name: str
    limit: str
    ours: list[Timed] = field(factory=list)
    theirs: list[Timed] = field(factory=list)

    def show(self) -> None:
        """Print minimum, median and maximum of both and of the ratio."""
        for label, times in (("ours", self.ours), ("theirs", self.theirs)):
            if times:
                seconds = [each.seconds for each in times]
                cpu = statistics.median(each.cpu_seconds for each in times)
                peak = max(each.peak_megabytes for each in times)
                print(
                    f"  {self.name if label == 'ours' else '':<28} {label:<7}{spread(seconds)} s"
                    f"{cpu:8.2f} s cpu {peak:6.0f} MB peak"
                    + (f", at most {MOST_MEGABYTES} MB" if label == "ours" else "")
                )
        if self.theirs:
            pairs = zip(self.ours, self.theirs, strict=True)
            ratios = [a.seconds / b.seconds for a, b in pairs]
            print(f"  {'':<28} ratio  {spread(ratios)}   {self.limit}")
        elif self.limit:
            print(f"  {'':<28} {self.limit}")


def in_turn(
    row: Row, runs: int, ours: Callable[[], Timed], theirs: Callable[[], Timed] | None
) -> Row:
    """Fill a row with pairs, one after the other."""
    for _ in range(runs):
        row.ours.append(ours())
        if theirs is not None:
            row.theirs.append(theirs())
    row.show()
    return row


class Benchmark:
    """The commands, on one tree."""

    def __init__(self, tree: Path, work: Path, fast: Path) -> None:
        self._tree = tree
        self._work = work
        self._fast = fast
        self.repository = work / "repository"
        self._tar = work / "tree.tar.gz"
        self._backapp = [sys.executable, "-m", "backapp_cli", "-r", str(self.repository)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env |= {"HOME": str(work), "XDG_CACHE_HOME": str(work / "cache")}
        env["PYTHONPYCACHEPREFIX"] = str(work / "compiled")
        self._options = {"env": env}

    def full(self) -> Timed:
        """Back the tree up into a new repository."""
        shutil.rmtree(self.repository, ignore_errors=True)
        shutil.rmtree(self._work / "cache", ignore_errors=True)
        timed([*self._backapp, "init", "--archiver", "targz"], **self._options)
        return timed([*self._backapp, "backup", "--quiet", str(self._tree)], **self._options)

    def tar(self) -> Timed:
        """Pack the tree with GNU tar and gzip."""
        return timed(["tar", "-czf", str(self._tar), "-C", str(self._tree.parent), self._tree.name])

    def again(self) -> Timed:
        """Back the unchanged tree up again."""
        return timed([*self._backapp, "backup", "--quiet", str(self._tree)], **self._options)

    def find(self) -> Timed:
        """List what a scan has to look at."""
        return timed(["find", str(self._tree), "-printf", "%p %s %T@ %C@ %i\\n"])

    def restore(self) -> Timed:
        """Restore the newest snapshot onto the tmpfs."""
        self._empty_fast()
        command = [
            *self._backapp,
            "restore",
            "latest",
            "--quiet",
            "--target",
            str(self._fast / "ours"),
        ]
        return timed(command, **self._options)

    def untar(self) -> Timed:
        """Unpack with GNU tar onto the tmpfs."""
        self._empty_fast()
        (self._fast / "theirs").mkdir()
        return timed(["tar", "-xzpf", str(self._tar), "-C", str(self._fast / "theirs")])

    def version(self) -> Timed:
        """Ask for the version."""
        return timed([sys.executable, "-m", "backapp_cli", "--version"], **self._options)

    @property
    def size_ratio(self) -> float:
        """How large the full archive is beside tar's."""
        archives = sum(path.stat().st_size for path in (self.repository / "archives").iterdir())
        return archives / self._tar.stat().st_size

    def _empty_fast(self) -> None:
        for name in ("ours", "theirs"):
            shutil.rmtree(self._fast / name, ignore_errors=True)


def run(tree: Path, work: Path, fast: Path, runs: int) -> None:
    """Print the table."""
    _rehearse(work, fast)
    bench = Benchmark(tree, work, fast)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        subprocess.run(
            ["tar", "--version"], capture_output=True, text=True, check=True
        ).stdout.split("\n")[0]
    )
    print(f"  {'':<28} {'':<7}{'min':>8} {'median':>8} {'max':>8}")
    bench.find()
    in_turn(Row("full backup | tar -czf", "at most 0.35"), runs, bench.full, bench.tar)
    print(f"  {'':<28} size   {bench.size_ratio:8.3f}   at most 1.2")
    _settle(tree)
    again = in_turn(
        Row("unchanged backup | find", "at most 2.0 x find + 0.8 s"),
        runs + 2,
        bench.again,
        bench.find,
    )
    spare = [
        2.0 * b.seconds + 0.8 - a.seconds for a, b in zip(again.ours, again.theirs, strict=True)
    ]
    print(f"  {'':<28} spare  {spread(spare)} s")
    in_turn(Row("restore | tar -xzpf", "at most 1.3"), runs, bench.restore, bench.untar)
    in_turn(Row("--version", "at most 0.25 s"), runs + 2, bench.version, None)


def _rehearse(work: Path, fast: Path) -> None:
    """Run every command on next to nothing, so that Python compiles all modules that they load."""
    little = work / "little"
    little.mkdir()
    bench = Benchmark(little, work, fast)
    for command in (bench.full, bench.again, bench.restore, bench.version):
        command()


def _settle(tree: Path) -> None:
    """Wait until no file is so young that it is read again to be safe."""
    del tree
    time.sleep(2.5)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tree", type=Path, help="an existing tree instead of a made one")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--bytes", type=float, default=2e9)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tmpfs", type=Path, default=Path("/dev/shm"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backapp-bench-", dir="/var/tmp") as folder:
        tree = chosen.tree
        if tree is None:
            tree = Path(folder, "tree")
            maker = str(Path(__file__).with_name("make_tree.py"))
            size = ["--files", str(chosen.files), "--bytes", str(chosen.bytes)]
            # A process of its own: see `Timed.peak_megabytes`.
            subprocess.run([sys.executable, maker, str(tree), *size], check=True)
        with tempfile.TemporaryDirectory(prefix="backapp-bench-", dir=chosen.tmpfs) as fast:
            run(tree.resolve(), Path(folder), Path(fast), chosen.runs)


if __name__ == "__main__":
    main()
