"""The gateway's own OpenAPI document, and what of it an answer breaks."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec


def closed(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """A schema by which what is not declared is wrong."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    return {"additionalProperties": False, **inner} if "properties" in inner else inner


def refuse_undeclared(document: dict[str, Any], method: str, path: str, answer: object) -> None:
    """See that an answer has what the document says, and no more."""
    (response,) = (
        it
        for status, it in document["paths"][path][method]["responses"].items()
        if status[0] == "2"
    )
    shape = response["content"]["application/json"]["schema"]
    whole = {**shape, "components": closed(document["components"])}
    jsonschema_rs.validator_for(whole).validate(answer)


def own_problems(kind: Any, answer: object) -> Iterator[str]:  # noqa: ANN401 - a TypedDict
    """What an answer breaks of a type of proxy_app.api.openapi.shapes, by itself."""
    template = "#/components/schemas/{name}"
    (shape,), components = msgspec.json.schema_components([kind], ref_template=template)
    whole = {**shape, "components": {"schemas": closed(components)}}
    for error in jsonschema_rs.validator_for(whole).iter_errors(answer):
        yield f"{'.'.join(map(str, error.instance_path))}: {error.message}"
