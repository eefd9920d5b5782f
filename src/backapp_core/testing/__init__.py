"""The public test kit: conformance classes for every port, fakes, and strategies.

Import the kit in a test module, inherit a contract class and supply its fixtures. Call
``pytest.register_assert_rewrite("backapp_core.testing")`` in ``conftest.py`` for readable failures.
"""
