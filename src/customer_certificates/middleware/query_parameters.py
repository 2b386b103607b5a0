"""Query parameters that an endpoint does not know are refused: a filter with a typing error would
list everything."""

from typing import Any

from falcon import Request, Response

from ..web.operations import Operation
from ..web.request_parsing import invalid_parameters, unknown_parameters


class QueryParameters:
    """Compares the query parameters of a request with those of its `@operation(…)`."""

    def process_resource(
        self, req: Request, resp: Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Raises Invalid for unknown parameters.

        If the endpoint has parameters of its own, `Query` raises it, with all other findings.
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
