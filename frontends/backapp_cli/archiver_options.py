"""Options of an archiver from ``key=value`` text, by what its settings class says of each."""

import typing
from collections.abc import Mapping
from typing import Any

from attrs import Attribute, fields, resolve_types

from backapp_core.errors import InvalidSettings

_WORDS = {"true": True, "yes": True, "false": False, "no": False}


def plain_options(texts: Mapping[str, str], settings: type[Any]) -> dict[str, object]:
    """Return plain data for ``settings`` from text; the engine checks names and ranges.

    Raises:
        InvalidSettings: If a text is no number or truth where one is needed; all faults are listed.
    """
    known: dict[str, Attribute[Any]] = {one.name: one for one in fields(resolve_types(settings))}
    plain: dict[str, object] = {}
    faults: list[tuple[str, str]] = []
    for key, text in texts.items():
        name = key.replace("-", "_")
        try:
            plain[name] = _read(text, known[name].type if name in known else str)
        except ValueError as error:
            faults.append((key, str(error)))
    if faults:
        raise InvalidSettings("the options given with -o", faults)
    return plain


def described_options(settings: type[Any]) -> list[str]:
    """Return ``name=default`` for every option, and what else it may be if that is little."""
    return [_describe(one) for one in fields(resolve_types(settings))]


def _read(text: str, kind: Any) -> object:
    if kind is int:
        if not text.lstrip("-").isdecimal():
            raise ValueError(f"'{text}' is no whole number")
        return int(text)
    if kind is float:
        return float(text)
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ValueError(f"'{text}' is neither true nor false")
        return _WORDS[text.lower()]
    if typing.get_origin(kind) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _describe(one: "Attribute[Any]") -> str:
    default = one.default
    if typing.get_origin(one.type) is typing.Literal:
        others = [str(value) for value in typing.get_args(one.type) if value != default]
        return f"{one.name}={default} (or {', '.join(others)})"
    if isinstance(default, tuple):
        return f"{one.name}={','.join(map(str, typing.cast('tuple[object, ...]', default)))}"
    if isinstance(default, bool):
        return f"{one.name}={str(default).lower()}"
    return f"{one.name}={default}" if isinstance(default, int | float | str) else one.name
