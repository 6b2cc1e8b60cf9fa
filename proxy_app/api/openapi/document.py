"""The document, put together from the routes that there are and what is declared of each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from proxy_app import __version__
from proxy_app.api.openapi import shapes
from proxy_app.api.openapi.operations import OPERATIONS, Fields, Operation, Schema

_VARIABLE = re.compile(r"<(?:(\w+)(?:\(([^)]*)\))?:)?(\w+)>")
_PAGES = re.compile(r"/(api|v1|livez|readyz|metrics|asr)(/|$)")
_TYPES: dict[type, str] = {
    str: "string", bool: "boolean", int: "integer", dict: "object", list: "array"
}  # fmt: skip
_JSON = "application/json"
_REFERENCE = "#/components/schemas/{name}"


def document(app: Flask) -> dict[str, Any]:
    """OpenAPI 3.1 of an application's routes for programs.

    Raises:
        KeyError: a route that nothing is declared of.
    """
    routes = sorted(_routes(app), key=lambda route: route[0])
    answers = [shapes.ErrorAnswer, *(op.answer for _, _, op, _ in routes if op.answer is not None)]
    schemas, components = msgspec.json.schema_components(answers, ref_template=_REFERENCE)
    of_type = {repr(kind): schema for kind, schema in zip(answers, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for path, rule, operation, method in routes:
        shown = _operation(app, rule, operation, of_type)
        paths.setdefault(path, {})[method.lower()] = shown
    return {
        "openapi": "3.1.0",
        "info": {"title": "Spark Speech", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "password": {"type": "http", "scheme": "basic"},
                "key": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [
            {},
            {"password": []},
            {"key": []},
        ],  # on loopback, until one is set, it needs none
    }


def _routes(app: Flask) -> Iterator[tuple[str, Rule, Operation, str]]:
    for rule in app.url_map.iter_rules():
        path = _VARIABLE.sub(r"{\3}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if _PAGES.match(path):
                yield path, rule, OPERATIONS[f"{method} {path}"], method


def _operation(
    app: Flask, rule: Rule, operation: Operation, of_type: dict[str, Schema]
) -> dict[str, Any]:
    words = inspect.getdoc(app.view_functions[rule.endpoint]) or ""
    content = {kind: {"schema": schema} for kind, schema in operation.also.items()}
    if operation.answer is not None:
        content[_JSON] = {"schema": of_type[repr(operation.answer)]}
    answer: dict[str, Any] = {"description": "As asked for."}
    answer |= {"content": content} if content else {}
    statuses = [it for it in (operation.status, operation.other_status) if it is not None]
    error = {"schema": of_type[repr(shapes.ErrorAnswer)]}
    shown: dict[str, Any] = {
        "operationId": rule.endpoint,
        "summary": words.partition("\n")[0].replace("`", ""),
        "parameters": [*_variables(rule), *_query(operation)],
        "responses": {
            **{str(status): answer for status in statuses},
            "default": {"description": "What is wrong.", "content": {_JSON: error}},
        },
    }
    if operation.body is not None:
        schema = _object(operation.body, operation.optional)
        content = {_JSON: {"schema": schema}}
        shown["requestBody"] = {"required": bool(schema["required"]), "content": content}
    if operation.passed_on:
        content = {_JSON: {"schema": {"type": "object"}}}
        shown["requestBody"] = {"required": True, "content": content}
    bodies: dict[str, Any] = {}
    if operation.json is not None:
        bodies[_JSON] = {"schema": operation.json}
    if operation.upload is not None:
        schema = {
            "type": "object",
            "properties": operation.upload,
            "required": [next(iter(operation.upload))],
        }
        bodies["multipart/form-data"] = {"schema": schema}
    if bodies:
        shown["requestBody"] = {"required": True, "content": bodies}
    return shown


def _variables(rule: Rule) -> Iterator[dict[str, Any]]:
    for kind, choices, name in _VARIABLE.findall(rule.rule):
        schema: Schema = {"type": "string", "minLength": 1}
        if kind == "any":
            schema = {"type": "string", "enum": [word.strip() for word in choices.split(",")]}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query(operation: Operation) -> Iterator[dict[str, Any]]:
    for name, schema in operation.query.items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}


def _object(fields: Fields, optional: Collection[str]) -> Schema:
    """A JSON object that takes these fields and no other."""
    properties: dict[str, Schema] = {name: {"type": _TYPES[kind]} for name, kind in fields.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }
