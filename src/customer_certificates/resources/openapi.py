"""The description of the API (OpenAPI 3.1), made from the routes and the types that they read."""

import re
from collections.abc import Iterable
from typing import Any

import falcon
import msgspec

from .. import __version__
from ..errors import (
    Forbidden,
    Malformed,
    NotAcceptable,
    Refusal,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from ..errors import Invalid as InvalidValue
from .operation import Answer, Operation, Parameter
from .problems import STATUSES, Problem

Route = tuple[str, object]

_REF = "#/components/schemas/{name}"
_ANY_REQUEST: tuple[type[Refusal], ...] = (Forbidden, NotAcceptable, Unavailable)
_ANY_BODY: tuple[type[Refusal], ...] = (Malformed, TooLarge, UnsupportedMediaType, InvalidValue)
_HEADERS = {
    "ETag": "Names this state; for If-None-Match and If-Match.",
    "Link": 'The next page (rel="next"), where more follow.',
    "Location": "Where it is.",
    "Retry-After": "Seconds after which to try again.",
    "X-Request-Id": "The request's own id: the client's, where it sent a sane one.",
}
_ID = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1, "examples": [1]}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The description of `routes`, each a URI template and its resource."""
    routes = list(routes)
    operations = [operation for _, resource in routes for _, operation in _operations(resource)]
    kinds = [operation.body for operation in operations if operation.body is not None]
    kinds += [
        answer.kind
        for operation in operations
        for answer in operation.answers.values()
        if answer.kind is not None
    ]
    _, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Customer Certificates",
            "version": __version__,
            "summary": "Takes customers' TLS certificates and keys, and knows which are active.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            plain_template(template): {
                **_path_parameters(template),
                **{method: _described(operation) for method, operation in _operations(resource)},
            }
            for template, resource in routes
        },
        "components": {"schemas": schemas},
    }


def plain_template(template: str) -> str:
    """A URI template without the names of its converters."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", template)


def _operations(resource: object) -> list[tuple[str, Operation]]:
    found = []
    for method in ("get", "post", "put", "patch", "delete"):
        responder = getattr(resource, f"on_{method}", None)
        if responder is not None:
            found.append((method, responder.__operation__))
    return found


def _path_parameters(template: str) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)[:}]", template)
    if not names:
        return {}
    parameters = [{"name": n, "in": "path", "required": True, "schema": _ID} for n in names]
    return {"parameters": parameters}


def _described(operation: Operation) -> dict[str, Any]:
    refusals = {*operation.refusals, *_ANY_REQUEST, *(_ANY_BODY if operation.body else ())}
    statuses = sorted({STATUSES[refusal] for refusal in refusals} - operation.answers.keys())
    described: dict[str, Any] = {"summary": operation.summary}
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    described["responses"] = {
        **{str(status): _answer(answer) for status, answer in operation.answers.items()},
        **{str(status): _refusal(status) for status in statuses},
    }
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": answer.description,
        "headers": _headers(*answer.headers),
    }
    if answer.kind is not None:
        described["content"] = _content(answer.kind, answer.media_type)
    return described


def _refusal(status: int) -> dict[str, Any]:
    headers = ("Retry-After",) if status == STATUSES[Unavailable] else ()
    return {
        "description": falcon.code_to_http_status(status).partition(" ")[2],
        "headers": _headers(*headers),
        "content": {
            **_content(Problem, "application/problem+json"),
            **_content(Problem),
        },
    }


def _headers(*names: str) -> dict[str, Any]:
    return {
        name: {"description": _HEADERS[name], "schema": {"type": "string"}}
        for name in (*names, "X-Request-Id")
    }


def _content(kind: Any, media_type: str = "application/json") -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return {media_type: {"schema": schema}}
