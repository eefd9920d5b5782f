"""Transactions that PostgreSQL gave up because of another one are made once more."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from backapp_core.plugin_api import StoreUnavailable

_C = TypeVar("_C", bound=type)
# Serialization failure, deadlock.
_COLLISIONS = {"40001", "40P01"}


def again_after_collisions(group: _C) -> _C:
    """Let every public method of ``group``, which is one transaction, be made twice if need be."""
    for name, value in list(vars(group).items()):
        if not name.startswith("_") and callable(value):
            setattr(group, name, _again(value))
    return group


def _again(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def repeated(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except StoreUnavailable as error:
            if not _is_collision(error):
                raise
        return method(*arguments, **options)

    return repeated


def _is_collision(error: StoreUnavailable) -> bool:
    cause = getattr(error.__cause__, "orig", None)
    return getattr(cause, "sqlstate", None) in _COLLISIONS
