"""What all tests share."""

import pytest

pytest.register_assert_rewrite("backapp_core.testing")
