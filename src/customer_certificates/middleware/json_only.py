"""Rejects requests that neither send nor accept JSON."""

from typing import Any

import falcon
from falcon import Request, Response

from ..errors import NotAcceptable, UnsupportedMediaType

_MEDIA_TYPES = (falcon.MEDIA_JSON, "application/problem+json")


class JsonOnly:
    """Enforces JSON, except for resources with `speaks_json = False`."""

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Raises NotAcceptable, or UnsupportedMediaType for a body that is not declared JSON."""
        if not getattr(resource, "speaks_json", True):
            return
        accept = req.env.get("HTTP_ACCEPT", "*/*")
        if accept != "*/*" and not any(map(req.client_accepts, _MEDIA_TYPES)):
            raise NotAcceptable(
                "This endpoint responds with JSON only. Send Accept: application/json, or no "
                "Accept header."
            )
        has_body = req.content_length or "HTTP_TRANSFER_ENCODING" in req.env
        if has_body and not _is_json(req.content_type):
            raise UnsupportedMediaType(
                "The body is not declared as JSON. Send JSON with Content-Type: application/json."
            )


def _is_json(content_type: str | None) -> bool:
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type == falcon.MEDIA_JSON
