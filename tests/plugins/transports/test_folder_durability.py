"""What reaches the disk before put returns, as strace sees it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import os, sys
from pathlib import Path
from backapp_core.testing.fakes import make_surroundings
from backapp_plugins.transports.folder import FolderSettings, files, open_folder

way, work, folder = sys.argv[1:]
if way == "hard link":
    files._rename_without_replacing = lambda temporary, final: False
transport = open_folder(FolderSettings(Path(folder)), make_surroundings(Path(work)))
transport.prepare()
os.write(1, b"prepared")
transport.put("data/00/object", [b"x" * 1_500_000] * 2)
os.write(1, b"created")
transport.put("data/00/object", [b"y"], replace=True)
os.write(1, b"replaced")
transport.delete("data/00/object")
os.write(1, b"deleted")
"""
TRACED = "fsync,fdatasync,write,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat"


@pytest.fixture(params=["rename", "hard link"])
def trace(request, tmp_path):
    """The system calls of one life of a folder, as (name, paths) up to each spoken word."""
    if shutil.which("strace") is None:
        pytest.fail("this test needs strace: apt install strace")
    log = tmp_path / "trace"
    folder = tmp_path / "new" / "repository"
    command = ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={TRACED}", "-o", str(log)]
    child = [sys.executable, "-c", CHILD, request.param, str(tmp_path / "work"), str(folder)]
    done = subprocess.run([*command, *child], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"strace could not watch its child: {done.stderr}"
    return request.param, folder, _parts(log.read_text())


def test_nothing_is_acknowledged_before_it_is_on_the_disk(trace):
    way, folder, parts = trace
    parent = folder / "data" / "00"
    final = parent / "object"
    for word, step in (("created", way), ("replaced", "rename")):
        calls = parts[word]
        temporary = next(paths[0] for name, paths in calls if name == "write")
        assert Path(temporary).parent == parent
        assert Path(temporary).name.startswith(".backapp-")
        written = max(i for i, (name, paths) in enumerate(calls) if name == "write")
        synced = calls.index(("fsync", [temporary]))
        named = next(
            i
            for i, (name, paths) in enumerate(calls)
            if name.startswith("link" if step == "hard link" else "rename")
            and paths == [temporary, str(final)]
        )
        folder_synced = max(i for i, call in enumerate(calls) if call == ("fsync", [str(parent)]))
        assert written < synced < named < folder_synced


def test_new_folders_are_on_the_disk_before_put_returns(trace):
    _, folder, parts = trace
    made = [paths[0] for name, paths in parts["created"] if name.startswith("mkdir")]
    assert made == [str(folder / "data"), str(folder / "data" / "00")]
    made_first = [paths[0] for name, paths in parts["prepared"] if name.startswith("mkdir")]
    assert str(folder) in made_first
    assert str(folder.parent) in made_first
    for word, path in (
        *(("created", path) for path in made),
        ("prepared", str(folder)),
        ("prepared", str(folder.parent)),
    ):
        calls = parts[word]
        is_made = next(
            i
            for i, (name, paths) in enumerate(calls)
            if name.startswith("mkdir") and paths == [path]
        )
        assert ("fsync", [os.path.dirname(path)]) in calls[is_made:]


def test_a_removal_is_on_the_disk_before_delete_returns(trace):
    _, folder, parts = trace
    calls = [(name, paths) for name, paths in parts["deleted"]]
    gone = calls.index(("unlink", [str(folder / "data" / "00" / "object")]))
    assert ("fsync", [str(folder / "data" / "00")]) in calls[gone:]


def _parts(log):
    parts, calls = {}, []
    for line in log.splitlines():
        match = re.match(r"\d+\s+(\w+)\((.*)\)\s+= 0|\d+\s+(write)\((.*)\)\s+= [1-9]", line)
        if match is None:
            continue
        name, arguments = match[1] or match[3], match[2] or match[4]
        spoken = re.match(r'1<[^>]*>, "(\w+)"', arguments)
        if name == "write" and spoken:
            parts[spoken[1]], calls = calls, []
        elif name in {"write", "fsync", "fdatasync"}:
            calls.append((name, re.findall(r"^\d+<([^>]*)>", arguments)))
        else:
            calls.append((name, re.findall(r'"([^"]*)"', arguments)))
    assert set(parts) == {"prepared", "created", "replaced", "deleted"}
    return parts
