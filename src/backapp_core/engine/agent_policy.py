"""What this machine lets a server have it do: a file that only its owner changes."""

import os
import tomllib
from pathlib import Path

from attrs import frozen

from backapp_core.codec import from_plain
from backapp_core.errors import InvalidSettings, NotAllowed
from backapp_core.model.jobs import Job
from backapp_core.model.names import to_line, to_text

FILE = "policy.toml"
_LONGEST_FILE_BYTES = 1 << 20
_OWN_SCANNER = "files"
_READS_FILES = "exclude_files"
"""A setting of scanners that names files of this machine, whose content would show in messages."""


@frozen
class Policy:
    """Holds whatever the server says; without a file, backups of anything and no restores."""

    backup_roots: tuple[bytes, ...] | None = None
    """Only what is one of these, or lies below one, is backed up; None: anything."""
    restore_folders: tuple[bytes, ...] = ()
    """Only into these, or below them, a server may have something restored; empty: nowhere."""
    commands: bool = False
    """Whether jobs may run commands to back up their output."""

    def check_job(self, job: Job, file: Path) -> None:
        """Refuse a job that this machine does not do for a server; ``file`` is what is named.

        Links are followed before paths are compared.

        Raises:
            NotAllowed: If it may not be run.
        """
        if job.scanner != _OWN_SCANNER and not self.commands:
            raise NotAllowed(
                f"the policy of this machine ({_shown(file)}) lets no server use the source "
                f"'{to_line(job.scanner)}', which may run commands; "
                "to let it, put 'commands = true' there"
            )
        if job.scanner_settings.get(_READS_FILES):
            raise NotAllowed(
                "a job of a server cannot name files of patterns on this machine; "
                "write the patterns into the job"
            )
        for root in job.roots:
            if not os.path.isabs(root) or b"\0" in root:  # noqa: PTH117  # bytes
                raise NotAllowed(f"the source '{to_text(root)}' of the job is no absolute path")
            if self.backup_roots is not None and not _is_within(root, self.backup_roots):
                raise NotAllowed(
                    f"the policy of this machine ({_shown(file)}) does not let {to_text(root)} "
                    f"be backed up; it allows {_listed(self.backup_roots)}"
                )

    def check_restore(self, target: bytes, file: Path) -> bytes:
        """Return ``target`` without links; refuse it where this machine lets no server write.

        Whoever restores goes to what is returned: a link that is put there later leads nowhere
        else. ``file`` is what is named.

        Raises:
            NotAllowed: If nothing may be restored there.
        """
        if not os.path.isabs(target) or b"\0" in target:  # noqa: PTH117  # bytes
            raise NotAllowed(f"the target '{to_text(target)}' of the restore is no absolute path")
        if not _is_within(target, self.restore_folders):
            raise NotAllowed(
                f"the policy of this machine ({_shown(file)}) does not let a server restore to "
                f"{to_text(target)}; it allows {_listed(self.restore_folders)}"
            )
        return os.path.realpath(target)


def read_policy(file: Path) -> Policy:
    """Return what ``file`` says; without such a file, the policy that nobody changed.

    Raises:
        InvalidSettings: If it cannot be read or understood; every fault is listed.
    """
    source = f"policy file {_shown(file)}"
    try:
        with file.open("rb") as opened:
            raw = opened.read(_LONGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise InvalidSettings(source, [("", error.strerror or str(error))]) from error
    if len(raw) > _LONGEST_FILE_BYTES:
        raise InvalidSettings(source, [("", f"is longer than {_LONGEST_FILE_BYTES} bytes")])
    try:
        plain = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidSettings(source, [("", f"byte {error.start} is no UTF-8")]) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(source, [("", f"is no TOML: {error}")]) from error
    policy = from_plain(plain, Policy, source=source)
    _check_paths(policy, source)
    return policy


def policy_text(policy: Policy) -> str:
    """Return a policy file that says so, with an explanation of every line."""
    roots = policy.backup_roots
    shown = (b"/home", b"/etc") if roots is None else roots
    return (
        "# What this machine lets its BackApp server have it do. Paths are absolute, links in\n"
        "# them are followed. Changes count from the next run.\n"
        "\n"
        "# Only these folders and what is below them are backed up. Without this line: anything.\n"
        f"{'# ' if roots is None else ''}backup_roots = {_toml(shown)}\n"
        "\n"
        "# Only into these folders, or below them, a server may have something restored.\n"
        f"restore_folders = {_toml(policy.restore_folders)}\n"
        "\n"
        "# Whether jobs may run commands to back up their output. Whoever controls the server\n"
        "# could run anything here then.\n"
        f"commands = {'true' if policy.commands else 'false'}\n"
    )


def _check_paths(policy: Policy, source: str) -> None:
    faults = [
        (f"{name}[{index}]", f"'{to_text(path)}' is no absolute path")
        for name, paths in (
            ("backup_roots", policy.backup_roots or ()),
            ("restore_folders", policy.restore_folders),
        )
        for index, path in enumerate(paths)
        if not os.path.isabs(path) or b"\0" in path  # noqa: PTH117  # bytes
    ]
    if faults:
        raise InvalidSettings(source, faults)


def _is_within(path: bytes, folders: tuple[bytes, ...]) -> bool:
    real = os.path.realpath(path)
    return any(_is_at_or_below(real, os.path.realpath(folder)) for folder in folders)


def _is_at_or_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(os.path.join(folder, b""))  # noqa: PTH118  # bytes


def _listed(paths: tuple[bytes, ...]) -> str:
    return ", ".join(map(to_text, paths)) or "nowhere"


def _toml(paths: tuple[bytes, ...]) -> str:
    # `to_text` escapes with a backslash, which a literal string of TOML leaves alone.
    return f"[{', '.join(_quoted(to_text(path)) for path in paths)}]"


def _quoted(text: str) -> str:
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _shown(file: Path) -> str:
    return to_line(str(file))
