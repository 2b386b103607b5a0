"""Error responses as problem details (RFC 9457), with the table of statuses."""

import logging
import re
from typing import Annotated, Any

import falcon
import msgspec
from falcon import Request, Response

from .. import errors
from ..errors import Finding, Refusal
from ..field_docs import doc
from ..known_names import shown

STATUSES: dict[type[Refusal], int] = {
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.NotAcceptable: 406,
    errors.TooSlow: 408,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}
_MEDIA_TYPE = "application/problem+json"
_log = logging.getLogger(__name__)


class Problem(msgspec.Struct, omit_defaults=True):
    """Why a request was rejected (RFC 9457)."""

    type: Annotated[
        str, doc("The type of problem, for programs.", "urn:customer-certificates:problem:invalid")
    ]
    title: Annotated[str, doc("The reason phrase of the status.", "Unprocessable Entity")]
    status: Annotated[int, doc("The HTTP status.", 422, ge=400, le=599)]
    detail: Annotated[str, doc("An explanation for people.", "1 field is invalid.")]
    request_id: Annotated[
        str,
        doc("The request id. Include it in reports to the service's operator.", "5f0c2a9be1d34478"),
    ]
    errors: Annotated[tuple[Finding, ...], doc("All invalid fields.")] = ()


def refuse(req: Request, resp: Response, refusal: Refusal, _params: dict[str, Any]) -> None:
    """Responds with one of the service's own refusals."""
    if refusal.retry_after is not None:
        resp.set_header("Retry-After", str(refusal.retry_after))
    kind = type(refusal)
    _answer(req, resp, STATUSES[kind], kind_of(kind), refusal.detail, refusal.errors)


def refuse_http(
    req: Request, resp: Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    """Responds with a framework error: an unknown route or method, or a bad header."""
    resp.set_headers(error.headers or {})
    status = falcon.http_status_to_code(error.status)
    details = {
        404: f"There is no endpoint {shown(req.path)}. /docs lists all endpoints.",
        405: f"Method {req.method[:20]} is not allowed here. {_allowed(error)}",
    }
    detail = details.get(status) or str(error.description or error.title)
    _answer(req, resp, status, phrase(status).lower().replace(" ", "-"), detail)


def fail(req: Request, resp: Response, error: Exception, _params: dict[str, Any]) -> None:
    """Responds with 500 and the request id. Logs the cause."""
    _log.error("unexpected error, request %s", req.context.request_id, exc_info=error)
    _answer(
        req,
        resp,
        500,
        "internal",
        "Internal error. Tell the operator of the service the request_id: its log has the cause.",
    )


def _allowed(error: falcon.HTTPError) -> str:
    headers = dict(error.headers or {})
    methods = sorted({*str(headers.get("Allow", "")).split(", ")} - {"OPTIONS", ""})
    return f"Allowed: {', '.join(methods)}." if methods else "The Allow header lists the methods."


def kind_of(refusal: type[Refusal]) -> str:
    """Returns the last part of the problem `type` for `refusal`."""
    return re.sub(r"\B(?=[A-Z])", "-", refusal.__name__).lower()


def type_of(kind: str) -> str:
    """Returns the problem `type` for `kind`."""
    return f"urn:customer-certificates:problem:{kind}"


def phrase(status: int) -> str:
    """Returns the reason phrase of `status`."""
    line: str = falcon.code_to_http_status(status)
    return line.partition(" ")[2]


def _answer(
    req: Request,
    resp: Response,
    status: int,
    kind: str,
    detail: str,
    errors: tuple[Finding, ...] = (),
) -> None:
    resp.status = status
    resp.content_type = (
        falcon.MEDIA_JSON
        if not req.client_accepts(_MEDIA_TYPE) and req.client_accepts(falcon.MEDIA_JSON)
        else _MEDIA_TYPE
    )
    resp.data = msgspec.json.encode(
        Problem(type_of(kind), phrase(status), status, detail, req.context.request_id, errors)
    )
