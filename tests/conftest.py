"""What all tests share."""

import gc
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

pytest.register_assert_rewrite("backapp_core.testing")
pytest_plugins = (
    *("ceph_gateway", "chromium_browser", "postgres_server"),
    *("quick_repositories", "small_disks"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-docs",
        action="store_true",
        help="write what the documentation tests expect into the pages instead of comparing",
    )
    parser.addoption(
        "--longest-first",
        action="store_true",
        help="begin with the files whose tests may take longest, then with those of most tests, "
        "so that no worker is left alone with a long one in the end",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put whole files into the order that was asked for; nothing changes within a file."""
    if not config.getoption("--longest-first"):
        return
    counts = Counter(item.path for item in items)
    longest: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        seconds = float(mark.args[0] if mark else config.getini("timeout"))
        longest[item.path] = max(seconds, longest.get(item.path, 0.0))
    items.sort(key=lambda item: (-longest[item.path], -counts[item.path]))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what lives until the end: thousands of tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let what needs a real tool, or root, fail where it is missing in the pipeline."""
    report = yield
    is_pipeline = os.environ.get("CI") == "true"
    if report.skipped and is_pipeline:
        report.outcome = "failed"
        report.longrepr = f"skipped in the pipeline: {report.longrepr}"
    return report
