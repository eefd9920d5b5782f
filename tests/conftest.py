"""What all tests share."""

import os
from collections.abc import Generator

import hypothesis
import pytest

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

pytest.register_assert_rewrite("backapp_core.testing")
pytest_plugins = ("ceph_gateway", "chromium_browser", "postgres_server")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-docs",
        action="store_true",
        help="write what the documentation tests expect into the pages instead of comparing",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let what needs a real tool fail where it is missing and the pipeline should have it."""
    report = yield
    is_pipeline = os.environ.get("CI") == "true"
    if report.skipped and is_pipeline and item.get_closest_marker("interop"):
        report.outcome = "failed"
        report.longrepr = f"skipped in the pipeline: {report.longrepr}"
    return report
