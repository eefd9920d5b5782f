"""The folder transport keeps the contract, and what only a folder can show."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from backapp_core.errors import (
    AccessRefused,
    InvalidAddress,
    ObjectExists,
    ObjectMissing,
    TransferCut,
    TransportUnavailable,
)
from backapp_core.ports.transports import CanTidy, HasFolder
from backapp_core.testing.fakes import make_surroundings
from backapp_core.testing.transport_contract import TransportContract
from backapp_plugins.transports.folder import FolderSettings, files, open_folder, parse_address


class TestFolder(TransportContract):
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "not" / "yet" / "there"

    @pytest.fixture
    def reopen(self, folder, tmp_path):
        return lambda: open_folder(FolderSettings(folder), make_surroundings(tmp_path))

    @pytest.fixture
    def place_foreign(self, folder):
        return lambda name: (folder / name).write_bytes(b"foreign")


@pytest.fixture
def transport(tmp_path):
    transport = open_folder(FolderSettings(tmp_path / "repository"), make_surroundings(tmp_path))
    transport.prepare()
    return transport


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_made_is_for_its_owner_alone(tmp_path, umask):
    usual = os.umask(umask)
    try:
        folder = tmp_path / "above" / "repository"
        transport = open_folder(FolderSettings(folder), make_surroundings(tmp_path))
        transport.prepare()

        def body():
            yield b"x" * (2 << 20)
            made = [*folder.glob("**/.backapp-*")]
            assert [path.stat().st_mode & 0o777 for path in made] == [0o600]

        transport.put("data/00/object", body())
        transport.put("data/00/object", [b"y"], replace=True)
    finally:
        os.umask(usual)
    for path in (folder.parent, folder, folder / "data", folder / "data" / "00"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert (folder / "data/00/object").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("/srv/backup", "/srv/backup"),
        ("file:///srv/back%20up%25", "/srv/back up%"),
        ("file:/srv/backup", "/srv/backup"),
        ("FILE://localhost/srv/backup", "/srv/backup"),
        ("file:///srv/a?b#c", "/srv/a?b#c"),
        ("/srv/100%25?#", "/srv/100%25?#"),
        ("relative/x", "relative/x"),
        ("~/x", "~/x"),
    ],
)
def test_addresses_are_paths_or_file_urls(address, folder):
    assert parse_address(address) == FolderSettings(Path(folder))


@pytest.mark.parametrize(
    "address",
    ["", "a\0b", "file:", "file://", "file:relative", "file://other-host/x", "file:///%00"],
)
def test_addresses_that_name_no_folder_of_this_machine_are_refused(address):
    with pytest.raises(InvalidAddress):
        parse_address(address)


def test_the_folder_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    around = make_surroundings(tmp_path)
    assert open_folder(FolderSettings(Path("a/b")), around).folder == tmp_path / "a/b"
    assert open_folder(FolderSettings(Path("~/a")), around).address == "/home/somebody/a"
    assert isinstance(open_folder(FolderSettings(Path("a")), around), HasFolder)
    assert isinstance(open_folder(FolderSettings(Path("a")), around), CanTidy)


def test_opening_something_else_than_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", Path("~no-such-user-here/x")):
        with pytest.raises(InvalidAddress):
            open_folder(FolderSettings(path), make_surroundings(tmp_path))


def test_a_folder_that_went_away_is_not_made_again_by_storing(transport):
    transport.folder.rmdir()
    with pytest.raises(TransportUnavailable, match="is gone"):
        transport.put("data/object", [b"x"])
    assert not transport.folder.exists()


def test_folders_below_that_somebody_removed_are_made_again(transport):
    transport.put("data/00/object", [b"x"])
    transport.delete("data/00/object")
    shutil.rmtree(transport.folder / "data")
    transport.put("data/00/object", [b"y"])
    assert transport.read("data/00/object") == b"y"


@pytest.mark.parametrize("replace", [False, True])
def test_an_object_cannot_stand_below_or_instead_of_another(transport, replace):
    transport.put("a/b", [b"x"])
    for name in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(ObjectExists):
            transport.put(name, [b"y"], replace=replace)
    assert [info.name for info in transport.list()] == ["a/b"]


def test_links_fifos_and_loops_neither_hang_nor_mislead(transport, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (transport.folder / "moved").symlink_to(elsewhere)
    (transport.folder / "loop").symlink_to("loop")
    (transport.folder / "nowhere").symlink_to("absent")
    (transport.folder / "around").symlink_to(transport.folder)
    os.mkfifo(transport.folder / "fifo")
    transport.put("moved/object", [b"x"])
    assert (elsewhere / "object").read_bytes() == b"x"
    assert [info.name for info in transport.list()] == ["moved/object"]
    for name in ("fifo", "loop", "nowhere", "loop/x"):
        with pytest.raises(ObjectMissing):
            transport.get(name)


@pytest.mark.parametrize("way", ["rename", "hard link", "neither"])
def test_every_way_of_naming_refuses_a_taken_name(transport, monkeypatch, way):
    if way != "rename":
        monkeypatch.setattr(files, "_rename_without_replacing", lambda *_: False)
    if way == "neither":
        monkeypatch.setattr(files, "_link_and_unlink", lambda *_: False)
    transport.put("object", [b"first"])
    draft = files.Draft(transport.folder, os.urandom)
    draft.create()
    with pytest.raises(FileExistsError):
        draft.publish(transport.folder / "object", replace=False)
    draft.discard()
    assert transport.read("object") == b"first"
    assert [*transport.folder.glob(".backapp-*")] == []


def test_a_lost_answer_of_an_nfs_server_is_recognised(transport):
    temporary, final = transport.folder / ".backapp-x", transport.folder / "object"
    temporary.write_bytes(b"x")
    os.link(temporary, final)
    assert files._link_and_unlink(temporary, final)
    assert [path.name for path in transport.folder.iterdir()] == ["object"]


def test_who_may_not_write_is_told(transport):
    transport.put("object", [b"x"])
    transport.folder.chmod(0o500)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chmod(transport.folder.parent, 0o711)
            os.setuid(65534)
            for call in (
                lambda: transport.put("other", [b"x"]),
                lambda: transport.read("object"),
                lambda: [*transport.list()],
                lambda: transport.delete("object"),
            ):
                with pytest.raises(AccessRefused):
                    call()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_a_folder_that_cannot_be_listed_is_named(transport, monkeypatch):
    transport.put("data/object", [b"x"])
    scandir = os.scandir

    def refusing(path):
        if path == transport.folder / "data":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(AccessRefused, match=r"repository/data' cannot be accessed: Permission"):
        list(transport.list())


def test_nothing_stays_open(transport):
    transport.put("object", [b"x" * (9 << 20)])
    before = len(os.listdir("/proc/self/fd"))
    chunks = [transport.get("object") for _ in range(20)]
    next(chunks[0])
    del chunks
    with pytest.raises(ZeroDivisionError):
        transport.put("other", (1 // 0 for _ in "x"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_becomes_shorter_while_it_is_read_is_a_cut_transfer(transport):
    transport.put("object", [b"x" * (9 << 20)])
    chunks = transport.get("object")
    next(chunks)
    os.truncate(transport.folder / "object", 5 << 20)
    with pytest.raises(TransferCut):
        list(chunks)
