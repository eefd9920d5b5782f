"""Roles: abstract classes whose docstrings are the contracts; the conformance kits in `backapp_core.testing` check them."""
