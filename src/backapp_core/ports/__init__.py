"""Roles: abstract classes whose docstrings are the contracts.

The conformance kits in `backapp_core.testing` check them.
"""
