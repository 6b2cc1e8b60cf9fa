"""OpenAI's own document of its API, and what of it an answer breaks."""

from collections.abc import Iterator
from typing import Any

from openapi_schema_validator import OAS31Validator


def problems(document: dict[str, Any], name: str, answer: object) -> Iterator[str]:
    """What an answer breaks of a schema of the document."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    for error in OAS31Validator(schema).iter_errors(answer):
        yield f"{error.json_path}: {error.message}"
