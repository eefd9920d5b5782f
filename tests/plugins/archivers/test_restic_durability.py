"""In which order a backup and a prune reach the disk, as strace sees it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

if sys.platform != "linux":
    pytest.skip("watches system calls", allow_module_level=True)

CHILD = """
import json, os, random, sys
from pathlib import Path
from backapp_core.model.jobs import BackupOptions
from backapp_core.model.repositories import CleanUpOptions, RemovalPlan
from backapp_core.ports.surroundings import Keys, Surroundings
from backapp_plugins.archivers.restic import backapp_archivers
from backapp_plugins.archivers.restic.access import holding, key_files
from backapp_plugins.archivers.restic.format.layout import INDEX, pack_name
from backapp_plugins.archivers.restic.writing import packing
from backapp_plugins.scanners.files import open_files
from backapp_plugins.scanners.files.settings import FilesSettings
from backapp_plugins.transports.folder import FolderSettings, open_folder

key_files._COST, holding._SETTLE_SECONDS = 16, 0.0
packing.PACK_BYTES, packing._INDEX_SECONDS = 60_000, -1.0
work, folder, source = map(Path, sys.argv[1:])
surroundings = Surroundings(work / "cache", work / "state", threads=1)
transport = open_folder(FolderSettings(folder), surroundings)
transport.prepare()
(kind,) = backapp_archivers()
repository = kind.create(transport, kind.settings(), Keys(password=lambda: "x"), surroundings)
named = {}

def done(word):
    for index_id, info in repository._place.listed(INDEX):
        document = json.loads(repository._place.read_document(INDEX, index_id))
        packs = [pack_name(bytes.fromhex(pack["id"])) for pack in document["packs"]]
        named[info.name] = packs
    os.write(1, word)

for number in range(2):
    for name in range(8):
        content = random.Random(name + number * (name % 2) * 100).randbytes(20_000)
        (source / str(name)).write_bytes(content)
    scanner = open_files(FilesSettings(roots=(os.fsencode(source),)), surroundings)
    repository.backup(scanner, BackupOptions("host", "user", is_full=True))
    done(b"backed-up")
first, second = repository.snapshots()
repository.remove(RemovalPlan((second.id,), (first.id,)))
done(b"removed")
repository.clean_up(repository.plan_clean_up(CleanUpOptions(max_unused_bytes=0)))
done(b"cleaned-up")
(work / "named.json").write_text(json.dumps(named))
"""
TRACED = "fsync,fdatasync,write,rename,renameat,renameat2,link,linkat,unlink,unlinkat"
_LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\()(.*)")


class Call(NamedTuple):
    """A system call that succeeded, in the order in which they were begun or had ended."""

    name: str
    paths: tuple[str, ...]
    began: int
    ended: int


class Trace(NamedTuple):
    """The life of a repository."""

    folder: Path
    calls: list[Call]
    packs_by_index: dict[str, list[str]]
    """The packs that each index object names which stood there after a step."""


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Trace:
    """Return what a program did that made, used and cleaned up a repository."""
    if shutil.which("strace") is None:
        pytest.fail("this test needs strace: apt install strace")
    top = tmp_path_factory.mktemp("durability")
    log, folder, source = top / "trace", top / "repository", top / "source"
    source.mkdir()
    command = ["strace", "-f", "-y", "-s", "64", "-e", f"trace={TRACED}", "-o", log]
    child = [sys.executable, "-c", CHILD, top / "work", folder, source]
    done = subprocess.run([*command, *child], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"strace could not watch its child: {done.stderr}"
    assert done.stdout == "backed-up" * 2 + "removed" + "cleaned-up"
    packs_by_index = json.loads((top / "work/named.json").read_text())
    return Trace(folder, _calls(log.read_text(errors="replace")), packs_by_index)


def _calls(log: str) -> list[Call]:
    """Return all calls; one that another thread interrupted stands on two lines."""
    begun: dict[str, tuple[int, str]] = {}
    calls: list[Call] = []
    for number, line in enumerate(log.splitlines()):
        match = _LINE.match(line)
        if match is None:
            continue
        thread, name, rest = match.groups()
        if rest.endswith("<unfinished ...>"):
            begun[thread] = number, rest.removesuffix("<unfinished ...>")
            continue
        began, start = begun.pop(thread, (number, "")) if "resumed>" in line else (number, "")
        whole = start + rest
        if not re.search(r"\)\s+= \d", whole):
            continue
        if name in {"write", "fsync", "fdatasync"}:
            paths = re.findall(r"^\d+<([^>]*)>", whole)
        else:
            paths = _named_paths(whole)
        calls.append(Call(name, tuple(paths), began, number))
    return calls


def _named_paths(arguments: str) -> list[str]:
    """Return the paths of an ``at`` call, which names a folder before each, or of a plain one."""
    found = re.findall(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"([^"]*)"', arguments)
    return [os.path.join(folder, name) for folder, name in found]


def _objects(folder: Path, calls: list[Call]) -> dict[str, tuple[int, int, int]]:
    """Return of each object when its naming began, when it ended, and when that was on the disk."""
    found: dict[str, tuple[int, int, int]] = {}
    for call in calls:
        if not call.name.startswith(("rename", "link")):
            continue
        temporary, final = call.paths
        if not final.startswith(f"{folder}/"):
            continue
        written = [one.ended for one in calls if one.name == "write" and temporary in one.paths]
        synced = [one for one in calls if one.name.endswith("sync") and one.paths == (temporary,)]
        assert written, final
        assert any(max(written) < one.began and one.ended < call.began for one in synced), final
        above = (str(Path(final).parent),)
        kept = [
            one.ended
            for one in calls
            if one.name == "fsync" and one.paths == above and one.began > call.ended
        ]
        assert kept, final
        found[final.removeprefix(f"{folder}/")] = call.began, call.ended, min(kept)
    return found


def _removals(folder: Path, calls: list[Call]) -> dict[str, int]:
    return {
        call.paths[0].removeprefix(f"{folder}/"): call.began
        for call in calls
        if call.name.startswith("unlink") and call.paths[0].startswith(f"{folder}/")
    }


def _words(calls: list[Call]) -> list[int]:
    """Return when the program said that it was done with each of its four steps."""
    words = [call.began for call in calls if call.name == "write" and "pipe" in call.paths[0]]
    assert len(words) == 4
    return words


def test_every_object_is_on_the_disk_before_whatever_needs_it_is_named(trace):
    folder, calls, packs_by_index = trace
    objects, words = _objects(folder, calls), _words(calls)
    named = {
        sort: [times for name, times in objects.items() if name.startswith(sort)]
        for sort in ("config", "keys/", "data/", "index/", "snapshots/", "locks/")
    }
    assert all(named.values())
    assert len(named["data/"]) > 5
    assert {name for name in objects if name.startswith("index/")} == set(packs_by_index)
    for name, packs in packs_by_index.items():
        assert packs
        assert all(objects[pack][2] < objects[name][0] for pack in packs), name
    published = sorted(named["snapshots/"])
    assert len(published) == 2
    for (began, _, durable), word in zip(published, words, strict=False):
        needed = [*named["data/"], *named["index/"]]
        assert all(one < began for at, _, one in needed if at < began)
        assert durable < word


def test_nothing_is_removed_before_what_replaces_it_is_on_the_disk(trace):
    folder, calls, _ = trace
    begins_at = _words(calls)[2]
    removed = {name: at for name, at in _removals(folder, calls).items() if at > begins_at}
    indexes = [at for name, at in removed.items() if name.startswith("index/")]
    packs = [at for name, at in removed.items() if name.startswith("data/")]
    fresh = {
        name: durable
        for name, (began, _, durable) in _objects(folder, calls).items()
        if began > begins_at and name.startswith(("index/", "data/"))
    }
    assert {name.partition("/")[0] for name in fresh} == {"index", "data"}
    assert max(fresh.values()) < min(indexes)
    assert max(indexes) < min(packs)
    # That old index objects are gone is on the disk, too, before the first pack goes.
    synced = [
        call.ended
        for call in calls
        if call.name == "fsync" and call.paths == (str(folder / "index"),)
    ]
    assert any(max(indexes) < at < min(packs) for at in synced)
