"""The description of the API (OpenAPI 3.1), made from the routes and the types that they read."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from .. import __version__
from ..errors import (
    Conflict,
    Finding,
    Forbidden,
    Invalid,
    Malformed,
    NotAcceptable,
    Refusal,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from ..services.access.permissions import Permission
from .event_descriptions import webhooks
from .operation_ids import OPERATION_IDS
from .operations import IDEMPOTENCY_KEY, Answer, Operation, Parameter, rights_of
from .problems import STATUSES, Problem, kind_of, phrase, type_of

# A URI template and the class of its resource.
Route = tuple[str, type]

_DESCRIPTION = """\
JSON goes in and JSON comes out; a trailing slash in a path means nothing.

- **Errors** have the members of RFC 9457. `errors` lists every field that is to blame, at once.
- **Lists** come in pages: `limit` and `after` go in, a `Link` header with `rel="next"` comes out
  where more follow.
- **Entity tags** come with what is read. `If-None-Match` saves reading again what is known already;
  `If-Match` on a write keeps it from undoing another's.
- **Credentials** are a token (`Authorization: Bearer …`). `POST /tokens` creates one; each
  operation lists the scopes that it needs. On this page, choose Authorize and enter a token. The
  profile `lcl` requires no credentials.
- **Idempotency-Key** on a write makes it safe to send again when no answer came.
- **Unknown names** are refused with 422: fields of a body and query parameters. The finding
  suggests the nearest known name. Endpoints for Caddy and for mailed links ignore other parameters.
- **Webhooks** receive the bodies that are described under `webhooks`, one for each type of event.
- **Traces**: a request may have a `traceparent` header (W3C Trace Context). The log and the
  webhooks of the events that the request causes belong to its trace. `tracestate` is ignored.
- **Compatibility**: before version 1.0, a minor version may change the API; CHANGELOG.md lists each
  change. From 1.0 on, only a major version removes or changes what clients rely on. Any version may
  add endpoints, optional fields, query parameters, response fields, event types, findings and
  problem types. So ignore response fields and event types that you do not know. Programs rely on
  `type`, `code` and `status`; the texts of `title`, `detail` and `hint` may change at any time.
"""
# A resource is listed under the name of its module.
_TAGS = {
    "users": "Whose certificates they are.",
    "email_verification": "Whether a user's address is verified, before notices are mailed to it.",
    "certificates": "What users have uploaded. Private keys are for terminators alone.",
    "audit": "What was done, by whom, and when; chained by hashes (docs/reference/audit-log.md).",
    "hostnames": "Who owns which hostname, and by which proof.",
    "versions": "What certificates were before they were replaced.",
    "quotas": "How much each user may store (docs/reference/limits.md).",
    "expiry": "What ends soon, and when its owner is told (docs/how-to/expiry-notifications.md).",
    "events": "What happened, for others to be told (docs/reference/events.md).",
    "webhooks": "Endpoints that are told of events as they happen.",
    "challenges": "How users prove control of hostnames (docs/how-to/hostnames.md).",
    "tokens": "What lets machines and people in.",
    "resolver": "Which certificate is served for a hostname.",
    "terminators": "For what serves TLS: certificates with their keys (docs/terminators).",
    "health": "For load balancers and supervisors.",
}
_ANY_REQUEST: tuple[type[Refusal], ...] = (
    Forbidden,
    Invalid,
    NotAcceptable,
    TooManyRequests,
    UnsupportedMediaType,
)
_ANY_BODY: tuple[type[Refusal], ...] = (Malformed, TooSlow, TooLarge, Invalid)
_IF_REPEATABLE: tuple[type[Refusal], ...] = (Conflict, Invalid)
_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "Names this state; for If-None-Match and If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f-]+"$'},
    },
    "Idempotency-Replayed": {
        "description": "The request was carried out before; this is what was answered then.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {
        "description": 'The next page (rel="next"), where more follow.',
        "schema": {"type": "string", "examples": ['</users?after=100>; rel="next"']},
    },
    "Location": {
        "description": "Where it is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/users/1"]},
    },
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "What to send.",
        "required": True,
        "schema": {"type": "string", "examples": ['Bearer realm="customer-certificates"']},
    },
    "X-Request-Id": {
        "description": "The request's own id: the client's, where it sent a sane one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=-]{1,128}$"},
    },
}
_SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A user's token, about this user alone, with all scopes that are listed; or "
        "an operator's. Where `operator` is listed, an operator's alone.",
    },
    "password": {
        "type": "http",
        "scheme": "basic",
        "description": "A user's e-mail address and password.",
    },
}
_REFUSAL_HEADERS: dict[type[Refusal], list[str]] = {
    Unauthenticated: ["WWW-Authenticate"],
    TooManyRequests: ["Retry-After"],
    Unavailable: ["Retry-After"],
}
_FINDINGS = {
    Malformed: Finding(
        "required", "email", "email is missing.", 'Example: {"email": "ada@example.com"}'
    ),
    Invalid: Finding(
        "wrong_type",
        "name",
        "name must be 1 to 200 characters, not blank, without control characters; "
        "got the number 7.",
        'Example: {"name": "Ada Lovelace"}',
    ),
}
_ID = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The description of `routes`, each a URI template and the class of its resource."""
    routes = list(routes)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "Customer Certificates",
            "version": __version__,
            "summary": "Takes customers' TLS certificates and keys, and knows which are active.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {"url": "/", "description": "The service that serves this description."},
            {"url": "http://localhost:9000", "description": "A local service, by default."},
        ],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": {plain_template(template): _path(template, of) for template, of in routes},
        "webhooks": webhooks(),
        "components": {
            "schemas": _schemas(
                [operation for _, of in routes for _, operation in _operations(of)]
            ),
            "responses": {kind.__name__: _refusal(kind) for kind in STATUSES},
            "headers": _HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }
    # A copy in which nothing occurs twice: YAML would write anchors for what does.
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(described))
    return copy


def plain_template(template: str) -> str:
    """A URI template without the names of its converters."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1}", template)


def _operations(resource: type) -> list[tuple[str, Operation]]:
    found = []
    for method in ("get", "post", "put", "patch", "delete"):
        responder = getattr(resource, f"on_{method}", None)
        if responder is not None:
            found.append((method, responder.__operation__))
    return found


def _path(template: str, resource: type) -> dict[str, Any]:
    noun = resource.__name__.removesuffix("Resource")
    tag = resource.__module__.rpartition(".")[2]
    path: dict[str, Any] = {
        method: {
            "tags": [tag],
            "operationId": OPERATION_IDS[method + noun],
            **_described(resource, operation),
        }
        for method, operation in _operations(resource)
    }
    names = re.findall(r"\{(\w+)[:}]", template)
    return {"parameters": [_path_parameter(name) for name in names], **path} if names else path


def _path_parameter(name: str) -> dict[str, Any]:
    if name == "hostname":
        return {
            "name": name,
            "in": "path",
            "required": True,
            "description": "A DNS name, a wildcard or an IP address.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 254},
            "example": "www.example.com",
        }
    if name == "verification_token":
        return {
            "name": name,
            "in": "path",
            "required": True,
            "description": "The secret in the link: 32 hexadecimal digits.",
            "schema": {"type": "string", "minLength": 1},
        }
    whose = name.removesuffix("_id")
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"The id of the {whose}.",
        "schema": _ID,
        "example": 1,
    }


def _described(resource: type, operation: Operation) -> dict[str, Any]:
    rights = rights_of(resource, operation)
    described: dict[str, Any] = {"summary": operation.summary}
    if operation.description:
        described["description"] = operation.description
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body:
        content = _content(operation.body)
        content["application/json"]["example"] = _example(operation.body)
        described["requestBody"] = {"required": True, "content": content}
    described["security"] = _security(rights)
    repeatable = IDEMPOTENCY_KEY in operation.parameters
    headers = ("Idempotency-Replayed",) if repeatable else ()
    refusals = {
        *operation.refusals,
        *(() if rights.anybody else (Unauthenticated,)),
        *(_IF_REPEATABLE if repeatable else ()),
        *_ANY_REQUEST,
        *(_ANY_BODY if operation.body else ()),
        *((Unavailable,) if operation.asks_database else ()),
    }
    described["responses"] = {
        **{str(status): _answer(answer, *headers) for status, answer in operation.answers.items()},
        **{
            str(status): {"$ref": f"#/components/responses/{kind.__name__}"}
            for kind, status in STATUSES.items()
            if kind in refusals and status not in operation.answers
        },
    }
    return described


def _security(rights: Permission) -> list[dict[str, list[str]]]:
    """Each of them is enough; none at all where anybody may ask."""
    if rights.anybody:
        return []
    kinds = [*(["operator"] * rights.operators), *(["terminator"] * rights.terminators)]
    tokens: list[list[str]] = [[*rights.scopes]] if rights.users else [[kind] for kind in kinds]
    enough = [{"token": needed} for needed in tokens]
    password: dict[str, list[str]] = {"password": []}
    return [password, *enough] if rights.password else enough


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        **({"required": True} if parameter.required else {}),
        "schema": parameter.schema,
    }


def _answer(answer: Answer, *headers: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": answer.description,
        "headers": _headers(*answer.headers, *headers),
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
    example = Problem(
        type_of(kind_of(kind)),
        title,
        status,
        reason,
        "5f0c2a9be1d34478",
        findings,
    )
    return {
        "description": reason,
        "headers": _headers(*_REFUSAL_HEADERS.get(kind, [])),
        "content": {
            media_type: {**_content(Problem)["application/json"], "example": example}
            for media_type in ("application/problem+json", "application/json")
        },
    }


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*names, "X-Request-Id")}


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    """Every type that goes in or comes out, by name."""
    bodies = [operation.body for operation in operations if operation.body]
    answers = [answer.kind for operation in operations for answer in operation.answers.values()]
    kinds = [*bodies, *(kind for kind in answers if kind is not None), Problem]
    return _components(kinds)[1]


def _content(kind: Any) -> dict[str, Any]:
    (schema,), _ = _components([kind])
    return {"application/json": {"schema": schema}}


def _example(body: Any) -> dict[str, Any]:
    """A valid body. Swagger UI would make up one with the fields of all alternatives."""
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
    """The fields of exactly one of `alternatives` must be there, all of them."""
    names = [name for fields in alternatives for name in fields]
    for name in names:
        # It stands for a field that was not sent, and is no value to send.
        del schema["properties"][name]["default"]
    schema["anyOf"] = [
        {"required": [*fields], "properties": {name: False for name in names if name not in fields}}
        for fields in alternatives
    ]
