"""Makes requests with an Idempotency-Key repeatable."""

import re
from typing import Any

from falcon import Request, Response

from ..errors import Finding, Invalid
from ..known_names import shown
from ..services.idempotency import NO_KEY, IdempotencyStore

_KEY = re.compile("[!-~]{1,255}")
_METHODS = frozenset(["POST", "PUT", "PATCH", "DELETE"])


class Idempotency:
    """Sets the idempotent request of each request."""

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Raises Invalid for an invalid key."""
        req.context.idempotent = NO_KEY
        key = req.env.get("HTTP_IDEMPOTENCY_KEY")
        principal = req.context.get("principal")
        if key is None or principal is None or req.method not in _METHODS:
            return
        if not _KEY.fullmatch(key):
            raise Invalid(
                "The Idempotency-Key header is invalid.",
                errors=[
                    Finding(
                        "invalid_header",
                        "Idempotency-Key",
                        "Idempotency-Key must be 1 to 255 visible ASCII characters; "
                        f"got {shown(key)}.",
                        "Send a random UUID, for example 9f2c7a52-0f0e-4c5e-9a55-3a1d1f0f7f10.",
                    )
                ],
            )
        req.context.idempotent = self._store.request(principal, req.path, key)

    def process_response(
        self, req: Request, resp: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Releases the key, whether or not a response was saved."""
        if idempotent := req.context.get("idempotent"):
            idempotent.release()
