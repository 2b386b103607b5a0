"""Rejects requests that neither send nor accept JSON."""

from typing import Any

import falcon
from falcon import Request, Response

from ..errors import NotAcceptable, UnsupportedMediaType


class JsonOnly:
    """Enforces JSON, except for resources with `speaks_json = False`."""

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Raises NotAcceptable, or UnsupportedMediaType for a body that is not declared JSON."""
        if not getattr(resource, "speaks_json", True):
            return
        accept = req.env.get("HTTP_ACCEPT", "*/*")
        if accept != "*/*" and not _admits_json(req):
            raise NotAcceptable(
                "This endpoint responds with JSON only. Send Accept: application/json, or no "
                "Accept header."
            )
        if _has_body(req) and not _is_json(req.content_type):
            raise UnsupportedMediaType(
                "The body is not declared as JSON. Send JSON with Content-Type: application/json."
            )


def _admits_json(req: Request) -> bool:
    return req.client_accepts(falcon.MEDIA_JSON) or req.client_accepts("application/problem+json")


def _has_body(req: Request) -> bool:
    return bool(req.content_length) or "HTTP_TRANSFER_ENCODING" in req.env


def _is_json(content_type: str | None) -> bool:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type == falcon.MEDIA_JSON
