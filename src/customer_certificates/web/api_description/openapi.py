"""Builds the API description (OpenAPI 3.1) from the routes and their types."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from ... import __version__, errors
from ...errors import Finding, Refusal
from ...services.access.permissions import Permission
from ..operations import (
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    Answer,
    Operation,
    Parameter,
    permission_of,
)
from ..problems import STATUSES, Problem, kind_of, phrase, type_of
from . import data_files
from .event_descriptions import webhooks

# A URI template and the class of its resource.
TemplateAndClass = tuple[str, type]

_Refusals = tuple[type[Refusal], ...]
_ANY_REQUEST: _Refusals = (
    errors.Forbidden,
    errors.Invalid,
    errors.NotAcceptable,
    errors.TooManyRequests,
    errors.UnsupportedMediaType,
)
_ANY_BODY: _Refusals = (errors.Malformed, errors.TooSlow, errors.TooLarge, errors.Invalid)
_IF_REPEATABLE: _Refusals = (errors.Conflict, errors.Invalid)
_NOT_MODIFIED = Answer("Not modified since the entity tag in If-None-Match.")
_ANY_RESPONSE_HEADERS = ("RateLimit", "RateLimit-Policy", "X-Request-Id")
_REFUSAL_HEADERS: dict[type[Refusal], list[str]] = {
    errors.Unauthenticated: ["WWW-Authenticate"],
    errors.TooManyRequests: ["Retry-After"],
    errors.Unavailable: ["Retry-After"],
}
_FINDINGS = {
    errors.Malformed: Finding(
        "required", "email", "email is missing.", 'Example: {"email": "ada@example.com"}'
    ),
    errors.Invalid: Finding(
        "wrong_type",
        "name",
        "name must be a string of 1 to 200 characters, not blank, without control characters; got "
        "the number 7.",
        'Example: {"name": "Ada Lovelace"}',
    ),
}
# Path parameters that are not an id.
_PATH_PARAMETERS = {
    "hostname": {
        "description": "A DNS name, a wildcard or an IP address.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 254},
        "example": "www.example.com",
    },
    "verification_token": {
        "description": "The secret in the link: 32 hexadecimal digits.",
        "schema": {"type": "string", "minLength": 1},
    },
}


def document(routes: Iterable[TemplateAndClass]) -> dict[str, Any]:
    """Returns the API description of `routes`."""
    routes = list(routes)
    described: dict[str, Any] = data_files.data("skeleton.json")
    described["info"] |= {"version": __version__, "description": data_files.text("introduction.md")}
    names = data_files.data("operation_ids.json")
    described["paths"] = {
        plain_template(template): _path(template, of, names) for template, of in routes
    }
    described["webhooks"] = webhooks()
    described["components"] |= {
        "schemas": _schemas([each for _, of in routes for _, each in _operations(of)]),
        "responses": {kind.__name__: _refusal(kind) for kind in STATUSES},
    }
    # Copy shared objects, because YAML would write anchors for them.
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(described))
    return copy


def plain_template(template: str) -> str:
    """Returns `template` without the names of its converters."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", template)


def _operations(resource: type) -> list[tuple[str, Operation]]:
    return [
        (method, responder.__operation__)
        for method in ("get", "post", "put", "patch", "delete")
        if (responder := getattr(resource, f"on_{method}", None)) is not None
    ]


def _path(template: str, resource: type, names: dict[str, str]) -> dict[str, Any]:
    """Returns the description of a route. The keys of `names` are like `getUser`."""
    noun, tag = resource.__name__.removesuffix("Resource"), resource.__module__.rpartition(".")[2]
    path: dict[str, Any] = {
        method: {
            "tags": [tag],
            "operationId": names[method + noun],
            **_described(resource, operation),
        }
        for method, operation in _operations(resource)
    }
    parameters = [_path_parameter(name) for name in re.findall(r"\{(\w+)[:}]", template)]
    return {"parameters": parameters, **path} if parameters else path


def _path_parameter(name: str) -> dict[str, Any]:
    described = _PATH_PARAMETERS.get(name) or {
        "description": f"The id of the {name.removesuffix('_id')}.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1},
        "example": 1,
    }
    return {"name": name, "in": "path", "required": True, **described}


def _described(resource: type, operation: Operation) -> dict[str, Any]:
    permission = permission_of(resource, operation)
    described: dict[str, Any] = {"summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body:
        content = _content(operation.body)
        content["application/json"]["example"] = _example(operation.body)
        described["requestBody"] = {"required": True, "content": content}
    described["security"] = _security(permission)
    repeatable = IDEMPOTENCY_KEY in operation.parameters
    answers = dict(operation.answers)
    if IF_NONE_MATCH in operation.parameters:
        answers[304] = _NOT_MODIFIED
    refusals = {
        *operation.refusals,
        *(() if permission.anybody else (errors.Unauthenticated,)),
        *(_IF_REPEATABLE if repeatable else ()),
        *_ANY_REQUEST,
        *(_ANY_BODY if operation.body else ()),
        *((errors.Unavailable,) if operation.asks_database else ()),
    }
    described["responses"] = {
        **{str(status): _answer(status, answers[status], operation) for status in answers},
        **{
            str(status): {"$ref": f"#/components/responses/{kind.__name__}"}
            for kind, status in STATUSES.items()
            if kind in refusals and status not in answers
        },
    }
    return described


def _security(permission: Permission) -> list[dict[str, list[str]]]:
    """Returns the alternative security requirements, empty for public operations."""
    if permission.anybody:
        return []
    kinds = [*(["operator"] * permission.operators), *(["terminator"] * permission.terminators)]
    tokens: list[list[str]] = (
        [[*permission.scopes]] if permission.users else [[kind] for kind in kinds]
    )
    enough = [{"token": needed} for needed in tokens]
    password: dict[str, list[str]] = {"password": []}
    return [password, *enough] if permission.password else enough


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        **({"required": True} if parameter.required else {}),
        "schema": parameter.schema,
    }


def _answer(status: int, answer: Answer, operation: Operation) -> dict[str, Any]:
    is_conditional = IF_NONE_MATCH in operation.parameters or IF_MATCH in operation.parameters
    tag = ("ETag",) if is_conditional and status in (200, 304) else ()
    replayed = ("Idempotency-Replayed",) if IDEMPOTENCY_KEY in operation.parameters else ()
    described: dict[str, Any] = {
        "description": answer.description,
        "headers": _headers(*tag, *answer.headers, *replayed),
    }
    if answer.kind is not None:
        described["content"] = _content(answer.kind)
    if answer.media_type is not None:
        described["content"] = {answer.media_type: {"schema": {"type": "string"}}}
    return described


def _refusal(kind: type[Refusal]) -> dict[str, Any]:
    status = STATUSES[kind]
    title = phrase(status)
    reason = inspect.getdoc(kind) or title
    findings = (_FINDINGS[kind],) if kind in _FINDINGS else ()
    example = Problem(type_of(kind_of(kind)), title, status, reason, "5f0c2a9be1d34478", findings)
    return {
        "description": reason,
        "headers": _headers(*_REFUSAL_HEADERS.get(kind, [])),
        "content": {
            media_type: {**_content(Problem)["application/json"], "example": example}
            for media_type in ("application/problem+json", "application/json")
        },
    }


def _headers(*names: str) -> dict[str, Any]:
    return {
        name: {"$ref": f"#/components/headers/{name}"} for name in (*names, *_ANY_RESPONSE_HEADERS)
    }


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    """Returns the schemas of all request and response types, by name."""
    bodies = [operation.body for operation in operations if operation.body]
    answers = [answer.kind for operation in operations for answer in operation.answers.values()]
    kinds = [*bodies, *(kind for kind in answers if kind is not None), Problem]
    return _components(kinds)[1]


def _content(kind: Any) -> dict[str, Any]:
    (schema,), _ = _components([kind])
    return {"application/json": {"schema": schema}}


def _example(body: Any) -> dict[str, Any]:
    """Returns a valid example body.

    Without an example, Swagger UI would combine the fields of all alternatives.
    """
    fields = _components([body])[1][body.__name__]["properties"]
    alternatives = getattr(body, "alternatives", ())
    names = alternatives[0] if alternatives else fields
    return {
        name: fields[name]["examples"][0] if "examples" in fields[name] else fields[name]["default"]
        for name in names
    }


def _components(kinds: list[Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    for schema in components.values():
        if "description" in schema:
            # From Python 3.13 on, docstrings come without their indentation.
            schema["description"] = inspect.cleandoc(schema["description"])
    for kind in kinds:
        if alternatives := getattr(kind, "alternatives", ()):
            _require_one(components[kind.__name__], alternatives)
    return schemas, components


def _require_one(schema: dict[str, Any], alternatives: tuple[tuple[str, ...], ...]) -> None:
    """Changes `schema` to require all fields of exactly one alternative."""
    names = [name for fields in alternatives for name in fields]
    for name in names:
        # The default marks a missing field. Clients must not send it.
        del schema["properties"][name]["default"]
    schema["anyOf"] = [
        {"required": [*fields], "properties": {name: False for name in names if name not in fields}}
        for fields in alternatives
    ]
