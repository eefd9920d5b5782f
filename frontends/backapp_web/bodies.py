"""JSON in and out through the program's one codec: everything checked, all faults listed."""

from collections.abc import Generator
from typing import Any, ClassVar

import msgspec
from litestar import Response
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.exceptions import HTTPException
from litestar.openapi.spec import OpenAPIType, Reference, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.response import Template
from litestar.typing import FieldDefinition
from typing_extensions import override

from backapp_core.codec import from_plain, to_plain
from backapp_core.errors import InvalidSettings
from backapp_core.model.retention import Within
from backapp_web.callers import Connection

_SOURCE = "the request"
_DEEPEST = 32
"""Levels of lists and tables; nothing that is sent here needs a quarter of that."""
_LARGEST_INTEGER = 2**63 - 1
"""What databases keep."""


def plain_of_json(raw: bytes) -> Any:
    """Return what JSON says.

    Raises:
        InvalidSettings: If it is no JSON, is nested too deeply, or holds a number or a character
            that nothing here can keep.
    """
    try:
        plain = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSettings(_SOURCE, [("", f"is no JSON: {_reason(error)}")]) from error
    _check(plain)
    return plain


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return "holds text that is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _check(plain: Any) -> None:
    level: list[Any] = [plain]
    for _ in range(_DEEPEST):
        deeper: list[Any] = []
        for value in level:
            _check_scalar(value)
            if isinstance(value, dict):
                deeper += [*value, *value.values()]
            elif isinstance(value, list):
                deeper += value  # pyright: ignore[reportUnknownArgumentType]  # see above
        if not deeper:
            return
        level = deeper
    raise InvalidSettings(_SOURCE, [("", f"is nested more than {_DEEPEST} levels deep")])


def _check_scalar(value: Any) -> None:
    if isinstance(value, str) and "\0" in value:
        raise InvalidSettings(_SOURCE, [("", "holds a NUL character")])
    if isinstance(value, int | float) and abs(value) > _LARGEST_INTEGER:
        raise InvalidSettings(_SOURCE, [("", "holds a number that is too large")])


class Codec(AbstractDTO[Any]):
    """Reads and writes every body of the interface."""

    _kinds: ClassVar[dict[str, Any]] = {}

    @classmethod
    @override
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        return False

    @classmethod
    @override
    def generate_field_definitions(
        cls, model_type: type[Any]
    ) -> Generator[DTOFieldDefinition, None, None]:
        yield from ()

    @classmethod
    @override
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        return not field_definition.is_subclass_of((Template, type(None)))

    @classmethod
    @override
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        if field_definition.name == "data":
            cls._kinds[handler_id] = field_definition.annotation

    @classmethod
    @override
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        if field_definition.is_subclass_of(Response):
            inner = field_definition.inner_types
            field_definition = inner[0] if inner else FieldDefinition.from_annotation(str)
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema

    @property
    def _connection(self) -> Connection:
        return self.asgi_connection  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # of any state

    @override
    def decode_bytes(self, value: bytes) -> Any:
        kind = self._connection.headers.get("content-type", "").partition(";")[0].strip()
        if kind.lower() != "application/json":
            raise HTTPException(status_code=415, detail="send application/json")
        handler: Any = self._connection.route_handler
        wanted = self._kinds[handler.handler_id]
        return from_plain(plain_of_json(value), wanted, source=_SOURCE)

    @override
    def data_to_encodable_type(self, data: Any) -> Any:
        if isinstance(data, Response):
            return _encodable(data)  # pyright: ignore[reportUnknownArgumentType]  # of any content
        return to_plain(data)


def _encodable(answer: Response[Any]) -> Response[Any]:
    answer.content = to_plain(answer.content)
    return answer


class PlainTypes(OpenAPISchemaPlugin):
    """Describes what the codec writes as text."""

    @staticmethod
    @override
    def is_plugin_supported_type(value: Any) -> bool:
        return value is Within or value is bytes

    @override
    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        if field_definition.annotation is Within:
            return Schema(
                type=OpenAPIType.STRING, description="a stretch of time such as 1y6m7d12h, or empty"
            )
        return Schema(
            type=OpenAPIType.STRING,
            description="a path; the backslash and what is not printable are written \\xNN",
        )
