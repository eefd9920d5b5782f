"""What all tests share."""

import pytest

pytest.register_assert_rewrite("backapp_core.testing")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-docs",
        action="store_true",
        help="write what the documentation tests expect into the pages instead of comparing",
    )
