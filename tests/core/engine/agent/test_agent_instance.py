"""Whether a former agent of this machine surely ended."""

import shutil

from backapp_core.engine.agent_instance import FILE, former_instance, note_instance
from backapp_core.processes import boot_id

FORMER = "f0" * 16


def test_process_before_in_the_same_folder_is_known(tmp_path):
    folder = tmp_path / "agent"
    note_instance(folder, FORMER)
    folder.rename(tmp_path / "renamed")
    assert former_instance(tmp_path / "renamed") == FORMER


def test_folder_in_which_nobody_worked_says_nobody(tmp_path):
    assert former_instance(tmp_path) == ""


def test_copy_of_a_folder_says_nobody(tmp_path):
    note_instance(tmp_path / "agent", FORMER)
    shutil.copytree(tmp_path / "agent", tmp_path / "copy")
    assert former_instance(tmp_path / "copy") == ""


def test_folder_of_another_kernel_says_nobody(tmp_path):
    """As that of a disk that was copied, or of this machine before it was started anew."""
    note_instance(tmp_path, FORMER)
    said = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(said.replace(boot_id(), "00000000-0000-4000-8000-000000000000"))
    assert former_instance(tmp_path) == ""


def test_what_makes_no_sense_says_nobody(tmp_path):
    for said in ("", f"{FORMER}\n", "\n\n\n", "\u00e9"):
        (tmp_path / FILE).write_text(said)
        assert former_instance(tmp_path) == ""
