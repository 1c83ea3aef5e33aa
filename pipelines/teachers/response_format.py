"""Does an answer fit the `response_format` that was asked for? Nothing is fetched, whatever a schema refers to."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jsonschema
import orjson
import referencing
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from tutelage.pipelines.teachers.outcomes import shortened

KINDS = ("text", "json_object", "json_schema")
SHAPE = '{"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}'


class Misfit(NamedTuple):
    cause: str
    detail: str | None


def misfit(text: str, response_format: Mapping[str, Any]) -> Misfit | None:
    """None where the answer fits. Formats (`"format": "date"`) are not asserted: JSON Schema makes them annotations."""
    kind = response_format.get("type")
    if kind not in ("json_object", "json_schema"):
        return None
    try:
        answer = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Misfit("not_json_answer", shortened(str(error)))
    if kind == "json_object":
        return None if type(answer) is dict else Misfit("schema_mismatch", "the answer is JSON, but no object")
    try:
        found = next(_validator(orjson.dumps(schema_of(response_format))).iter_errors(answer), None)
    except RecursionError:
        return Misfit("schema_mismatch", "the answer is nested too deeply to validate")
    except Unresolvable as error:
        return Misfit("schema_mismatch", shortened(f"the schema can't be applied: {error}"))
    return Misfit("schema_mismatch", shortened(f"{found.json_path}: {found.message}")) if found else None


def problems_of(response_format: Any) -> list[str]:
    """What is wrong with a `response_format`, found before a call is paid for."""
    if not isinstance(response_format, Mapping) or response_format.get("type") not in KINDS:
        return [f"response_format needs a 'type' of {', '.join(KINDS)}; found {response_format!r}"]
    if response_format["type"] != "json_schema":
        return []
    schema = schema_of(response_format)
    if not isinstance(schema, dict):
        return [f"response_format of type json_schema needs its schema under json_schema.schema: {SHAPE}"]
    try:
        validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(schema)
        lost = list(_lost_references(schema))
        if not lost:
            # A schema that refers to itself and nothing else never ends.
            _validator(orjson.dumps(schema)).is_valid({})
    except jsonschema.SchemaError as error:
        return [f"response_format: the schema is invalid at {error.json_path}: {shortened(error.message)}"]
    except RecursionError:
        return ["response_format: the schema refers to itself without end; give the recursion a way out"]
    except TypeError as error:
        return [f"response_format: the schema is no JSON: {error}"]
    return [
        f"response_format: {name!r} names no part of the schema; only references inside it are followed"
        for name in lost
    ]


def schema_of(response_format: Mapping[str, Any]) -> Any:
    part = response_format.get("json_schema")
    return part.get("schema") if isinstance(part, Mapping) else None


@lru_cache(maxsize=256)
def _validator(schema_json: bytes) -> Validator:
    schema = orjson.loads(schema_json)
    # An empty registry: without one, jsonschema fetches what a $ref names from the network.
    return validator_for(schema, default=jsonschema.Draft202012Validator)(schema, registry=referencing.Registry())


def _lost_references(schema: dict[str, Any]) -> Iterator[str]:
    root = referencing.Resource.from_contents(schema, default_specification=DRAFT202012)
    waiting = [(root, referencing.Registry().with_resource("", root).resolver_with_root(root))]
    while waiting:
        part, resolver = waiting.pop()
        contents = part.contents if isinstance(part.contents, dict) else {}
        for reference in [contents[key] for key in ("$ref", "$dynamicRef") if key in contents]:
            try:
                resolver.lookup(reference)
            except Unresolvable:
                yield reference
        waiting += [(inner, resolver.in_subresource(inner)) for inner in part.subresources()]
