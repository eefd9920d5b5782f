"""What the verbs give back, under one roof, each imported when it is first asked for.

The annotations of `Engine` are names of this module: type checkers and `typing.get_type_hints` find
them, and nobody pays for the module of a verb that is not called.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from backapp_core.engine.backup import LookAhead
    from backapp_core.engine.diff import Differences
    from backapp_core.engine.find import Match
    from backapp_core.engine.prune import ForgetPlan
    from backapp_core.engine.restore import RestorePlan
    from backapp_core.engine.scan_ahead import Ahead
    from backapp_core.engine.tag import Retagged
    from backapp_core.engine.upkeep import Upkeep
    from backapp_core.manager import PluginManager

__all__ = [
    "Ahead",
    "Differences",
    "ForgetPlan",
    "LookAhead",
    "Match",
    "PluginManager",
    "RestorePlan",
    "Retagged",
    "Upkeep",
]

_PLACE_OF = {
    "Differences": "backapp_core.engine.diff",
    "ForgetPlan": "backapp_core.engine.prune",
    "Match": "backapp_core.engine.find",
    "PluginManager": "backapp_core.manager",
    "RestorePlan": "backapp_core.engine.restore",
    "Retagged": "backapp_core.engine.tag",
    "Ahead": "backapp_core.engine.scan_ahead",
    "LookAhead": "backapp_core.engine.backup",
    "Upkeep": "backapp_core.engine.upkeep",
}

if not typing.TYPE_CHECKING:  # else any misspelt name would pass the type checkers

    def __getattr__(name: str) -> object:
        if name not in _PLACE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(_PLACE_OF[name])  # noqa: TID251  # ours, from the table above
        value = globals()[name] = getattr(module, name)
        return value
