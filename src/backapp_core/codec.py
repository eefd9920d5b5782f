"""Model and events to plain data and back: one cattrs converter for the whole program.

Plain data are what JSON and TOML know: mappings with text keys, lists, text, numbers, truth,
nothing. Times are ISO 8601 in UTC, paths and other bytes are the text that `model.names` defines,
unions of events carry their class in ``type``. Reading is strict: nothing is coerced, unknown keys
are refused, and all faults are collected.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from attrs import frozen, has

from backapp_core.errors import BackappError, InvalidSettings
from backapp_core.events import Event
from backapp_core.model.names import from_text, to_line, to_text
from backapp_core.model.rates import Rate
from backapp_core.model.retention import Within

_T = TypeVar("_T")
_EVENT_NAMES = frozenset(kind.__name__ for kind in get_args(Event))
_LONGEST_WORDS = 200


@frozen
class Check:
    """What a value must be beyond its type, as a mark in ``Annotated[str, Check(...)]``.

    Unlike an attrs validator it is found at the value's own path, beside all other faults.
    """

    is_fine: Callable[[Any], bool]
    reason: str
    """What is said if it is not, such as ``must be one line of text``."""


def to_plain(value: Any) -> Any:
    """Return a model value, an event or a settings object as plain data."""
    return _converter().unstructure(value)


def event_to_plain(event: Event) -> dict[str, Any]:
    """Return an event as plain data with its class in ``type``."""
    plain = _event_converter().unstructure(event, Event)
    return dict(plain)


def event_from_plain(data: Any) -> Event:
    """Return the event that `event_to_plain` wrote.

    Raises:
        InvalidSettings: If the data do not fit; all faults are listed.
    """
    if not isinstance(data, dict):
        raise InvalidSettings("event", [("", f"expected a table, found {_word_for(data)}")])
    table = cast("dict[str, Any]", data)
    name = table.get("type")
    if not isinstance(name, str) or name not in _EVENT_NAMES:
        raise InvalidSettings("event", [("type", f"{name!r:.60} is no known event")])
    return cast("Event", _read(_event_converter(), table, Event, source="event"))


def from_plain(data: Any, kind: type[_T], *, source: str) -> _T:
    """Make a value of class ``kind`` from plain data.

    Args:
        data: The plain data.
        kind: An attrs class, or a type built from such.
        source: What the data are, for the message: ``settings file /etc/backapp.toml``.

    Raises:
        InvalidSettings: If the data do not fit; all faults are listed with their paths.
    """
    return cast("_T", _read(_converter(), data, kind, source=source))


def _read(converter: Any, data: Any, kind: Any, *, source: str) -> Any:
    try:
        return converter.structure(data, kind)
    except Exception as error:
        faults = _faults(error, "")
        if not faults:
            raise
        raise InvalidSettings(source, faults) from error


@cache
def _converter() -> Any:
    return _new_converter()


@cache
def _event_converter() -> Any:
    """Return one that knows the union of all events, which takes a while to set up."""
    from cattrs.strategies import configure_tagged_union  # noqa: PLC0415  # loaded when needed

    converter = _new_converter()
    configure_tagged_union(Event, converter, tag_name="type")
    return converter


def _new_converter() -> Any:
    # cattrs takes 60 ms to import and many commands do without it.
    import cattrs  # noqa: PLC0415  # see above

    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    _be_strict_about_shapes(converter)
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
    converter.register_structure_hook(Rate, lambda said, _: _read_rate(said))
    converter.register_unstructure_hook(Rate, str)
    converter.register_structure_hook(StrEnum, _read_word)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _read_literal)
    converter.register_unstructure_hook(StrEnum, lambda member: member.value)
    converter.register_structure_hook_func(
        lambda kind: _check_of(kind) is not None,
        lambda value, kind: _checked(converter.structure(value, get_args(kind)[0]), kind),
    )
    converter.register_unstructure_hook_func(
        lambda kind: _origin(kind) is frozenset,
        lambda values: sorted(converter.unstructure(value) for value in values),
    )
    converter.register_unstructure_hook_func(lambda kind: kind is object, lambda value: value)
    converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
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


def _be_strict_about_shapes(converter: Any) -> None:
    """Let only lists become sequences and only tables classes; cattrs would split text up."""
    from cattrs import cols  # noqa: PLC0415  # loaded when needed

    vendor: Any = cols  # its signatures are open at the ends

    def table(value: Any) -> Any:
        return _shaped(value, (dict,), "a table")

    def listed(value: Any) -> Any:
        return _shaped(value, (list, tuple), "a list")

    def is_tuple(kind: Any) -> bool:
        return _origin(kind) is tuple and get_args(kind)[-1] is ...

    def is_set(kind: Any) -> bool:
        return _origin(kind) is frozenset

    def structure_set(value: Any, kind: Any) -> Any:
        return frozenset(converter.structure(value, _tuple_of(get_args(kind)[0])))

    def class_factory(kind: Any) -> Any:
        return _after(table, converter.gen_structure_attrs_fromdict(kind))

    converter.register_structure_hook_factory(has, class_factory)
    converter.register_structure_hook_func(is_set, structure_set)
    for is_meant, check, factory in (
        (vendor.is_mapping, table, vendor.mapping_structure_factory),
        (vendor.is_sequence, listed, vendor.list_structure_factory),
        (is_tuple, listed, vendor.homogenous_tuple_structure_factory),
    ):
        converter.register_structure_hook_factory(is_meant, _checking(check, factory))


def _checking(check: Callable[[Any], Any], factory: Any) -> Callable[[Any, Any], Any]:
    """Return a factory whose hooks look at the value first."""

    def checking(kind: Any, used: Any) -> Any:
        return _after(check, factory(kind, used))

    return checking


def _after(check: Callable[[Any], Any], inner: Any) -> Callable[[Any, Any], Any]:
    """Return a hook that looks at the value first."""
    return lambda value, kind: inner(check(value), kind)


def _tuple_of(kind: Any) -> Any:
    return tuple.__class_getitem__((kind, ...))


def _shaped(value: Any, shapes: tuple[type, ...], word: str) -> Any:
    if not isinstance(value, shapes):
        raise TypeError(f"expected {word}, found {_word_for(value)}")
    return value


def _check_of(kind: Any) -> "Check | None":
    marks = getattr(kind, "__metadata__", ())
    return next((mark for mark in marks if isinstance(mark, Check)), None)


def _checked(value: Any, kind: Any) -> Any:
    check = _check_of(kind)
    if check is not None and not check.is_fine(value):
        raise ValueError(check.reason)
    return value


def _read_time(text: Any) -> datetime:
    try:
        is_time = isinstance(text, datetime)
        moment = text if is_time else datetime.fromisoformat(_strict(str)(text, str))
        if moment.tzinfo is None:
            raise ValueError(f"time '{moment.isoformat()}' has no time zone")
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"time {text!r:.60} lies outside the years 1 to 9999") from None


def _read_rate(said: Any) -> Rate:
    if type(said) not in {str, int}:
        raise TypeError(f"expected text or a whole number, found {_word_for(said)}")
    return Rate.parse(str(said))


def _read_word(text: Any, kind: type[StrEnum]) -> StrEnum:
    word = _strict(str)(text, str)
    return kind(_one_of(word, [member.value for member in kind]))


def _read_literal(value: Any, kind: Any) -> Any:
    return _one_of(value, get_args(kind))


def _one_of(value: Any, known: Sequence[Any]) -> Any:
    # True equals 1, and is another thing.
    if not any(type(value) is type(one) and value == one for one in known):
        words = ", ".join(map(str, known))
        raise ValueError(f"{value!r:.60} is not known here; use one of {words}")
    return value


def _faults(error: BaseException, path: str) -> list[tuple[str, str]]:
    # What was read may hold anything and be of any length; what is said about it may not.
    return [
        (_shortened(to_line(place)), _shortened(to_line(reason)))
        for place, reason in _faults_as_raised(error, path)
    ]


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_WORDS:
        return text
    return f"{text[: _LONGEST_WORDS // 2]}...{text[-_LONGEST_WORDS // 2 :]}"


def _faults_as_raised(error: BaseException, path: str) -> list[tuple[str, str]]:
    from cattrs import BaseValidationError, ForbiddenExtraKeysError  # noqa: PLC0415  # loaded when needed

    if isinstance(error, BaseValidationError):
        return [
            fault
            for inner in error.exceptions
            for fault in _faults_as_raised(inner, path + _step(inner, path))
        ]
    if isinstance(error, ForbiddenExtraKeysError):
        return [
            (f"{path}.{name}".lstrip("."), "is not known here")
            for name in sorted(error.extra_fields, key=str)
        ]
    if isinstance(error, KeyError):
        # cattrs names a missing attribute in the note, too.
        name = str(error.args[0])
        if path == name or path.endswith(f".{name}"):
            return [(path, "is missing")]
        return [(f"{path}.{name}".lstrip("."), "is missing or unknown")]
    if isinstance(error, InvalidSettings):
        return [(f"{path}.{inner}".strip("."), reason) for inner, reason in error.faults]
    if isinstance(error, ValueError | TypeError | AttributeError | BackappError):
        return [(path, " ".join(str(error).split()))]
    return []


def _step(error: BaseException, path: str) -> str:
    from cattrs import AttributeValidationNote, IterableValidationNote  # noqa: PLC0415  # loaded when needed

    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}" if path else note.name
        if isinstance(note, IterableValidationNote):
            if isinstance(note.index, str):
                return f".{note.index}" if path else note.index
            return f"[{note.index!r}]"
    return ""
