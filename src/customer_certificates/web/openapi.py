"""Builds the API description (OpenAPI 3.1) from the routes and their types."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from .. import __version__, errors
from ..errors import Finding, Refusal
from ..services.access.permissions import Permission
from .event_descriptions import webhooks
from .operation_ids import OPERATION_IDS
from .operations import IDEMPOTENCY_KEY, Answer, Operation, Parameter, permission_of
from .problems import STATUSES, Problem, kind_of, phrase, type_of

# A URI template and the class of its resource.
TemplateAndClass = tuple[str, type]

_DESCRIPTION = """\
Requests and responses are JSON. A trailing slash in a path is ignored.

- **Errors** are problem details (RFC 9457). `errors` lists every invalid field in one response.
- **Lists** are paginated with `limit` and `after`. If there are more items, the response has a
  `Link` header with `rel="next"`.
- **Entity tags**: responses to reads have an `ETag`. Send it in `If-None-Match` to skip unchanged
  content. Send it in `If-Match` on a write to avoid overwriting another client's change.
- **Credentials** are a token (`Authorization: Bearer …`). `POST /tokens` creates one. Each
  operation lists the scopes that it requires. On this page, choose Authorize and enter a token. The
  profile `lcl` requires no credentials.
- **Rate limits**: `RateLimit` and `RateLimit-Policy` show the remaining requests of the token, or
  of the client address without a token. A 429 has a `Retry-After`.
- **Idempotency-Key** makes a write safe to retry if you received no response.
- **Unknown names** of body fields and query parameters are rejected with 422. The finding
  suggests the nearest known name. Endpoints for Caddy and email links ignore unknown parameters.
- **Webhooks** receive the bodies described under `webhooks`, one for each event type.
- **Traces**: a request may have a `traceparent` header (W3C Trace Context). Log lines and webhook
  deliveries caused by the request belong to its trace. `tracestate` is ignored.
- **Compatibility**: before version 1.0, a minor version may change the API. CHANGELOG.md lists each
  change. From 1.0 on, only a major version makes breaking changes. Any version may add endpoints,
  optional fields, query parameters, response fields, event types, findings and problem types.
  Ignore response fields and event types that you do not know. Programs can rely on `type`, `code`
  and `status`. The texts of `title`, `detail` and `hint` may change at any time.
"""
# A resource is listed under the name of its module.
_TAGS = {
    "users": "Users own certificates, hostnames, webhooks and tokens.",
    "email_verification": "Verification of email addresses, required before notices are sent.",
    "certificates": "Uploaded certificates. Only terminators receive private keys.",
    "audit": "A hash-chained record of every write (docs/reference/audit-log.md).",
    "hostnames": "Owners of hostnames, and the proof of ownership.",
    "versions": "Earlier and pending versions of certificates.",
    "quotas": "Storage limits for each user (docs/reference/limits.md).",
    "expiry": "Upcoming expiry and its notices (docs/how-to/expiry-notifications.md).",
    "events": "Events about a user's certificates (docs/reference/events.md).",
    "webhooks": "Endpoints that receive events as they happen.",
    "challenges": "Proofs of control of hostnames (docs/how-to/hostnames.md).",
    "tokens": "API tokens.",
    "resolver": "The certificate that is served for a hostname.",
    "terminators": "Certificates and private keys for TLS terminators (docs/how-to).",
    "health": "Health checks for load balancers and supervisors.",
}
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
_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "The entity tag, for If-None-Match and If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f-]+"$'},
    },
    "Idempotency-Replayed": {
        "description": "The request was completed before. This is the stored response.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {
        "description": 'The next page (rel="next"), if there are more items.',
        "schema": {"type": "string", "examples": ['</users?after=100>; rel="next"']},
    },
    "Location": {
        "description": "The path of the new resource.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/users/1"]},
    },
    "RateLimit": {
        "description": "The rate limit that applies (`token` or `peer`), the remaining requests "
        "(`r`), and the seconds until all are available again (`t`). Absent if the service has no "
        "rate limit.",
        "schema": {"type": "string", "examples": ['"token";r=99;t=1']},
    },
    "RateLimit-Policy": {
        "description": "The rate limit that applies, and its requests (`q`) in a window of `w` "
        "seconds. Absent if the service has no rate limit.",
        "schema": {"type": "string", "examples": ['"token";q=100;w=2']},
    },
    "Retry-After": {
        "description": "The number of seconds to wait before a retry.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "The accepted authentication schemes.",
        "required": True,
        "schema": {"type": "string", "examples": ['Bearer realm="customer-certificates"']},
    },
    "X-Request-Id": {
        "description": "The request id. A valid id from the client is kept.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/+=-]{1,128}$"},
    },
}
_ANY_RESPONSE_HEADERS = ("RateLimit", "RateLimit-Policy", "X-Request-Id")
_SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A user's token with every listed scope, for this user's own data, or an "
        "operator's token. If `operator` is listed, only an operator's token.",
    },
    "password": {
        "type": "http",
        "scheme": "basic",
        "description": "A user's email address and password.",
    },
}
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
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "Customer Certificates",
            "version": __version__,
            "summary": "Store, validate and deliver customers' TLS certificates.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {"url": "/", "description": "The service that published this description."},
            {
                "url": "http://localhost:9000",
                "description": "A local service with default settings.",
            },
        ],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": {plain_template(template): _path(template, of) for template, of in routes},
        "webhooks": webhooks(),
        "components": {
            "schemas": _schemas([each for _, of in routes for _, each in _operations(of)]),
            "responses": {kind.__name__: _refusal(kind) for kind in STATUSES},
            "headers": _HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
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


def _path(template: str, resource: type) -> dict[str, Any]:
    noun, tag = resource.__name__.removesuffix("Resource"), resource.__module__.rpartition(".")[2]
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
    headers = ("Idempotency-Replayed",) if repeatable else ()
    refusals = {
        *operation.refusals,
        *(() if permission.anybody else (errors.Unauthenticated,)),
        *(_IF_REPEATABLE if repeatable else ()),
        *_ANY_REQUEST,
        *(_ANY_BODY if operation.body else ()),
        *((errors.Unavailable,) if operation.asks_database else ()),
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
