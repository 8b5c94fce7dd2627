"""`verdict.json`: writing, reading, and its published JSON Schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticSerializationError, core_schema

from ..harness.judging.verdict import SCHEMA_VERSION, Verdict

__all__ = ["SCHEMA_FILE", "read_verdict", "schema", "schema_text", "verdict_text"]

SCHEMA_FILE = Path(__file__).with_name("verdict.schema.json")
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Schema(GenerateJsonSchema):
    """A float may be one of the three values that JSON has no number for."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"enum": list(_NOT_FINITE)}]}


def verdict_text(verdict: Verdict) -> str:
    """Return the verdict as strict JSON; NaN and infinities are the strings `NaN`, `Infinity`, `-Infinity`.

    A lone surrogate (undecodable output of a trainer), which UTF-8 cannot hold, becomes U+FFFD.
    """
    try:
        return verdict.model_dump_json(indent=1) + "\n"
    except PydanticSerializationError:
        return (
            Verdict.model_validate(_without_surrogates(verdict.model_dump())).model_dump_json(indent=1) + "\n"
        )


def read_verdict(path: Path) -> Verdict:
    """Return the verdict that `verdict_text` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no verdict of this schema version; the message names the file and the place in it.
    """
    try:
        found = json.loads(path.read_bytes())
        version = found.get("schema_version") if isinstance(found, dict) else None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema_version {version!r}; this release reads {SCHEMA_VERSION}")
    try:
        return Verdict.model_validate_json(json.dumps(_with_floats(found, "")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path} is not a verdict: {place}: {first['msg']}") from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `verdict.json`."""
    found = Verdict.model_json_schema(mode="serialization", schema_generator=_Schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:stepaudit:verdict:{SCHEMA_VERSION}",
        **found,
        "title": "stepaudit verdict",
    }


def schema_text() -> str:
    """Return the text of the committed `verdict.schema.json`."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _with_floats(value: Any, name: str) -> Any:
    """Return `value` with floats for the strings that stand for them, which the strict models do not take."""
    if isinstance(value, dict):
        return {key: item if key == "scenario" else _with_floats(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_floats(item, name) for item in value]
    if name in {"seconds", "epochs"} and isinstance(value, str):
        return _NOT_FINITE.get(value, value)
    return value


def _without_surrogates(value: Any) -> Any:
    if type(value) is str:
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list) else value
