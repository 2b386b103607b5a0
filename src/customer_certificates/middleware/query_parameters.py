"""Rejects unknown query parameters, because a misspelled filter would list everything."""

from typing import Any

from falcon import Request, Response

from ..web.operations import Operation
from ..web.request_parsing import invalid_parameters, unknown_parameters


class QueryParameters:
    """Accepts only the query parameters declared in `@operation(…)`."""

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Raises Invalid for unknown parameters.

        If the endpoint has parameters, `Query` raises the error with all other findings.
        """
        if not req.query_string:
            return
        responder = getattr(resource, f"on_{req.method.lower()}", None)
        operation: Operation | None = getattr(responder, "__operation__", None)
        if operation is None or operation.allows_other_parameters:
            return
        known = [one.name for one in operation.parameters if one.place == "query"]
        if findings := unknown_parameters(req, known):
            if not known:
                raise invalid_parameters(findings)
            req.context.unknown_parameters = findings
