"""JSON Schema of what users write, for editors and for ``weft``: generated from the models, never edited.

An editor that knows the schema completes field names and underlines unknown ones. Rules between fields are not in it;
``weft check`` knows those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from weft.api.decode import model_of
from weft.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from pydantic_core import core_schema

    from weft.api.base import Object

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def of_kind(kind: Kind) -> dict[str, Any]:
    """The schema of one kind's documents."""
    schema = model_of(kind).model_json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": DIALECT, "title": kind.kind, **_of_object(schema, kind)}


def of_all() -> dict[str, Any]:
    """The schema of a document of any kind that weft reads."""
    models: list[tuple[type[Object], Any]] = [(model_of(kind), "validation") for kind in KINDS]
    refs, together = models_json_schema(
        models, by_alias=True, ref_template="#/$defs/{model}", schema_generator=_Generator
    )
    definitions = dict(together["$defs"])
    options = []
    for kind in KINDS:
        name = refs[model_of(kind), "validation"]["$ref"].rpartition("/")[2]
        definitions[name] = _of_object(definitions[name], kind)
        options.append({"$ref": f"#/$defs/{name}"})
    return {"$schema": DIALECT, "title": "weft", "oneOf": options, "$defs": definitions}


class _Generator(GenerateJsonSchema):
    """Without nulls, and with only those defaults that a reader learns something from."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        default = schema.get("default")
        return {**inner, "default": default} if isinstance(default, (str, int, float)) and default != "" else inner


def _of_object(schema: dict[str, Any], kind: Kind) -> dict[str, Any]:
    properties = dict(schema["properties"])
    properties["apiVersion"] = {"enum": list(kind.api_versions)}
    properties["kind"] = {"const": kind.kind}
    return {**schema, "properties": properties}
