"""/resolve"""

from falcon import Request, Response

from ..errors import Invalid
from ..services.access.permissions import CAN_RESOLVE
from ..services.terminators.resolver import KeyType, Resolved, Resolver
from ..web import request_parsing, responses
from ..web.operations import Answer, Parameter, operation
from ..web.resource import Resource

_HOSTNAME = Parameter(
    "hostname",
    "A DNS name or an IP address.",
    {"type": "string", "minLength": 1, "maxLength": 253, "examples": ["www.example.com"]},
    required=True,
)
_KEY_TYPE = Parameter(
    "key_type",
    "Return only the certificate with a key of this type.",
    {"type": "string", "enum": ["ecdsa", "rsa", "ed25519"]},
)


class ResolveResource(Resource[Resolver]):
    """The certificate that is served for a hostname."""

    @operation(
        "Show which certificate is served for a hostname",
        {200: Answer("The served certificate, and why the others are not served.", Resolved)},
        description="Only an active, currently valid certificate with its key is served. An exact "
        "name takes precedence over a wildcard. Then the order is: higher trust, later expiry, "
        "higher id.",
        parameters=[_HOSTNAME, _KEY_TYPE],
        refusals=[Invalid],
        allow=CAN_RESOLVE,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        hostname = query.hostname("hostname")
        key_type = query.choice("key_type", KeyType)
        query.check()
        resolved = self._service.resolve(req.context.principal, hostname, key_type)
        responses.send_uncached(resp, resolved)
