"""What may be imported where, and what an import costs; `lint-imports` watches the directions."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = [
    ROOT / "src/backapp_core",
    ROOT / "src/backapp_plugins",
    ROOT / "frontends/backapp_cli",
    ROOT / "frontends/backapp_web",
]
# Modules of the standard library that Windows has not.
POSIX_MODULES = {
    *("crypt", "fcntl", "grp", "nis", "ossaudiodev", "posix", "pty", "pwd", "resource"),
    *("readline", "spwd", "syslog", "termios", "tty"),
}
HEAVY = {"boto3", "botocore", "sqlalchemy", "alembic", "litestar", "fsspec", "paramiko"}


def loaded_after(code: str) -> set[str]:
    """Run ``code`` in a new interpreter and return the top-level names of all modules it loaded."""
    report = (
        "\nimport json, sys; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + report],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def imports_at_load(node: ast.AST) -> list[tuple[str, int]]:
    """Return what a module imports when it is imported, unless its absence is handled."""
    found: list[tuple[str, int]] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try):
            continue
        if isinstance(child, ast.Import):
            found += [(name.name.partition(".")[0], child.lineno) for name in child.names]
        elif isinstance(child, ast.ImportFrom):
            found.append(((child.module or "").partition(".")[0], child.lineno))
        found += imports_at_load(child)
    return found


def test_importing_the_core_loads_no_heavy_library():
    assert not loaded_after("import backapp_core") & (HEAVY | {"click", "rich", "cattrs"})


def test_listing_the_plugins_loads_no_heavy_library():
    code = """
import backapp_cli.__main__
from backapp_core.manager import PluginManager
assert all(role.kinds for role in PluginManager.load().roles)
"""
    assert not loaded_after(code) & HEAVY


def test_importing_every_package_does_nothing_else():
    code = """
import threading, backapp_core, backapp_plugins, backapp_cli, backapp_web
assert threading.active_count() == 1
"""
    loaded_after(code)


def test_no_module_imports_at_its_top_what_windows_lacks(modules):
    assert [
        (str(path), line, name)
        for path, module in modules.items()
        for name, line in imports_at_load(module)
        if name in POSIX_MODULES
    ] == []


def test_no_module_has_a_relative_import(modules):
    assert [
        (str(path), node.lineno)
        for path, module in modules.items()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.level
    ] == []


def test_every_module_can_be_imported_without_what_only_posix_has():
    # Everything is imported once, so that libraries and the standard library are complete; then
    # ours is imported again in a process that has lost the POSIX modules and the names that
    # Windows' `os`, `signal` and `socket` lack.
    code = f"""
import importlib, os, signal, socket, sys
names = {json.dumps(importable_modules())}
for name in names:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0].startswith("backapp_")]:
    del sys.modules[name]
for name in {sorted(POSIX_MODULES)!r}:
    sys.modules[name] = None
for module, lost in {LOST_NAMES!r}.items():
    for name in lost:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
for name in names:
    importlib.import_module(name)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# What the documentation of the standard library gives as "Availability: Unix" (or Linux) and our
# subject tempts to use.
LOST_NAMES = {
    "os": [
        *(
            "O_CLOEXEC",
            "O_DIRECTORY",
            "O_DIRECT",
            "O_NOATIME",
            "O_NOCTTY",
            "O_NOFOLLOW",
            "O_NONBLOCK",
        ),
        *("O_PATH", "O_SYNC", "O_DSYNC", "O_TMPFILE", "SEEK_DATA", "SEEK_HOLE", "XATTR_CREATE"),
        *("chown", "chroot", "copy_file_range", "fchmod", "fchown", "fdatasync", "fork", "fwalk"),
        *("getegid", "geteuid", "getgid", "getgroups", "getuid", "getxattr", "lchown", "listxattr"),
        *(
            "major",
            "makedev",
            "minor",
            "mkfifo",
            "mknod",
            "posix_fadvise",
            "pread",
            "pwrite",
            "pwritev",
        ),
        *("register_at_fork", "removexattr", "sched_getaffinity", "setuid", "setxattr", "statvfs"),
        *("sysconf", "uname", "WNOHANG", "killpg", "getpgid", "setsid", "POSIX_FADV_DONTNEED"),
    ],
    "signal": [
        "SIGHUP",
        "SIGKILL",
        "SIGPIPE",
        "SIGUSR1",
        "SIGUSR2",
        "SIGWINCH",
        "SIGTSTP",
        "alarm",
    ],
    "socket": ["AF_UNIX"],
}


def importable_modules() -> list[str]:
    names: list[str] = []
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            # Migration scripts are run by alembic, within a context that only it provides.
            if "migrations" not in parts and parts[-1] != "__main__":
                names.append(".".join(parts))
    return names


def test_the_directions_of_imports_hold():
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_layer_of_the_core_is_watched():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    assert {contract["id"] for contract in contracts} >= {
        *("directions", "core-layers", "plugin-surface", "plugins-apart", "no-vendors"),
        *("pure-model", "test-tools", "no-cycles"),
    }
