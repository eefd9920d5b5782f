"""Model and events to plain data and back: one cattrs converter for the whole program.

Plain data are what JSON and TOML know: mappings with text keys, lists, text, numbers, truth,
nothing. Times are ISO 8601 in UTC, paths and other bytes are the text that `model.names` defines,
unions of events carry their class in ``type``. Reading is strict: nothing is coerced, unknown keys
are refused, and all faults are collected.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast, get_origin

from backapp_core.errors import BackappError, InvalidSettings
from backapp_core.events import Event
from backapp_core.model.names import from_text, to_text
from backapp_core.model.retention import Within

_T = TypeVar("_T")


def to_plain(value: Any) -> Any:
    """Return a model value, an event or a settings object as plain data."""
    return _converter().unstructure(value)


def event_to_plain(event: Event) -> dict[str, Any]:
    """Return an event as plain data with its class in ``type``."""
    plain = _converter().unstructure(event, Event)
    return dict(plain)


def event_from_plain(data: Mapping[str, Any]) -> Event:
    """Return the event that `event_to_plain` wrote.

    Raises:
        InvalidSettings: If the data do not fit; all faults are listed.
    """
    return from_plain(dict(data), Event, source="event")  # type: ignore[arg-type]  # a union is no class to mypy


def from_plain(data: Any, kind: type[_T], *, source: str) -> _T:
    """Make a value of class ``kind`` from plain data.

    Args:
        data: The plain data.
        kind: An attrs class, or a type built from such.
        source: What the data are, for the message: ``settings file /etc/backapp.toml``.

    Raises:
        InvalidSettings: If the data do not fit; all faults are listed with their paths.
    """
    try:
        return cast("_T", _converter().structure(data, kind))
    except Exception as error:
        faults = _faults(error, "")
        if not faults:
            raise
        raise InvalidSettings(source, faults) from error


@cache
def _converter() -> Any:
    # cattrs takes 60 ms to import and many commands do without it.
    import cattrs  # noqa: PLC0415
    from cattrs.strategies import configure_tagged_union  # noqa: PLC0415

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    # Strict primitives come first: hooks registered later do not reach classes that are compiled
    # already.
    for primitive in (str, int, float, bool):
        converter.register_structure_hook(primitive, _strict(primitive))
    converter.register_structure_hook(datetime, lambda text, _: _read_time(text))
    converter.register_unstructure_hook(datetime, lambda moment: moment.astimezone(UTC).isoformat())
    converter.register_structure_hook(bytes, lambda text, _: from_text(_strict(str)(text, str)))
    converter.register_unstructure_hook(bytes, to_text)
    converter.register_structure_hook(
        Within, lambda text, _: Within.parse(text) if text else Within()
    )
    converter.register_unstructure_hook(Within, str)
    converter.register_structure_hook(StrEnum, lambda text, kind: kind(_strict(str)(text, str)))
    converter.register_unstructure_hook(StrEnum, lambda member: member.value)
    converter.register_unstructure_hook_func(
        lambda kind: _origin(kind) is frozenset,
        lambda values: sorted(converter.unstructure(value) for value in values),
    )
    converter.register_unstructure_hook_func(lambda kind: kind is object, lambda value: value)
    converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
    configure_tagged_union(Event, converter, tag_name="type")
    return converter


def _origin(kind: Any) -> object:
    return get_origin(kind)


def _strict(primitive: type) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if primitive is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not primitive:
            raise TypeError(f"expected {_WORDS[primitive]}, found {_word_for(value)}")
        return value

    return structure


_WORDS: dict[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _word_for(value: object) -> str:
    words: dict[type, str] = {list: "a list", dict: "a table", type(None): "nothing"}
    word = _WORDS.get(type(value)) or words.get(type(value)) or type(value).__name__
    return f"{word} ({value!r:.60})"


def _read_time(text: Any) -> datetime:
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(_strict(str)(text, str))
    if moment.tzinfo is None:
        raise ValueError(f"time '{moment.isoformat()}' has no time zone")
    return moment.astimezone(UTC)


def _faults(error: BaseException, path: str) -> list[tuple[str, str]]:
    from cattrs import BaseValidationError, ForbiddenExtraKeysError  # noqa: PLC0415

    if isinstance(error, BaseValidationError):
        return [
            fault
            for inner in error.exceptions
            for fault in _faults(inner, path + _step(inner, path))
        ]
    if isinstance(error, ForbiddenExtraKeysError):
        return [
            (f"{path}.{name}".lstrip("."), "is not known here")
            for name in sorted(error.extra_fields)
        ]
    if isinstance(error, KeyError):
        return [(f"{path}.{error.args[0]}".lstrip("."), "is missing or unknown")]
    if isinstance(error, InvalidSettings):
        return [(f"{path}.{inner}".strip("."), reason) for inner, reason in error.faults]
    if isinstance(error, ValueError | TypeError | AttributeError | BackappError):
        return [(path, " ".join(str(error).split()))]
    return []


def _step(error: BaseException, path: str) -> str:
    from cattrs import AttributeValidationNote, IterableValidationNote  # noqa: PLC0415

    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}" if path else note.name
        if isinstance(note, IterableValidationNote):
            return f"[{note.index!r}]"
    return ""
