"""/terminators and its subpaths: certificates for TLS terminators, and their reports"""

from typing import Annotated

import msgspec
from falcon import Request, Response
from msgspec import Meta

from ..errors import Conflict, Invalid, NotFound
from ..field_docs import doc
from ..pki.client_hello import key_types
from ..pki.names.hostnames import address_of, server_name
from ..services.access.permissions import CADDY, OPERATORS, TERMINATORS
from ..services.terminators.exports import Terminators, TraefikConfiguration
from ..services.terminators.feed import Feed, FeedPage
from ..services.terminators.listing import TerminatorPages, TerminatorView
from ..services.terminators.reports import Report, TerminatorReports
from ..web import etags, pagination, request_parsing, responses
from ..web.operations import IDEMPOTENCY_KEY, IF_NONE_MATCH, PAGE, Answer, Parameter, operation
from ..web.resource import Resource

_PEM = "application/x-pem-file"

_SERVER_NAME = Parameter(
    "server_name",
    "The server name that the TLS client sent (SNI). An invalid hostname gets 204.",
    {"type": "string", "examples": ["www.example.com"]},
)
_LOCAL_IP = Parameter(
    "local_ip",
    "The local address of the connection to Caddy. It is used if the client sent no server name, "
    "as clients that connect to an IP address do.",
    {"type": "string", "examples": ["192.0.2.1"]},
)
_SIGNATURE_SCHEMES = Parameter(
    "signature_schemes",
    "The signature schemes of the client, as comma-separated hexadecimal numbers.",
    {"type": "string", "examples": ["403,804,401"]},
)
_CIPHER_SUITES = Parameter(
    "cipher_suites",
    "The cipher suites of the client, as comma-separated hexadecimal numbers.",
    {"type": "string", "examples": ["1301,c02b,c02f"]},
)
_DOMAIN = Parameter(
    "domain",
    "The name that Caddy wants to serve.",
    {"type": "string", "minLength": 1, "maxLength": 253, "examples": ["www.example.com"]},
    required=True,
)


_LONGEST_WAIT = 60
_DEFAULT_LIMIT = 500
_LARGEST_LIMIT = 1000
_SINCE = Parameter(
    "since",
    "The `cursor` of the previous response. Without it, the response starts a snapshot.",
    {"type": "string", "maxLength": 200},
)
_WAIT = Parameter(
    "wait",
    "The number of seconds to wait for a change if there is none yet.",
    {"type": "integer", "minimum": 0, "maximum": _LONGEST_WAIT, "default": 0},
)
_LIMIT = Parameter(
    "limit",
    "The maximum number of certificates. A page of large certificates may have fewer.",
    {"type": "integer", "minimum": 1, "maximum": _LARGEST_LIMIT, "default": _DEFAULT_LIMIT},
)
_Cursor = Annotated[str, Meta(max_length=200)]


class ServedName(msgspec.Struct):
    """A hostname with a served certificate."""

    domain: Annotated[str, doc("The normalized hostname.", "www.a.org")]


class CaddyResource(Resource[Terminators]):
    """The endpoint for Caddy's `get_certificate http`.

    A status other than 200 and 204 would abort the handshake, for names of other sites too.
    """

    has_head = False
    speaks_json = False
    is_silent_beyond_limits = True

    @operation(
        "Get a certificate and its key for Caddy",
        {
            200: Answer("The certificate chain and the private key in PEM.", media_type=_PEM),
            204: Answer("There is no certificate for the name."),
        },
        description="For Caddy's `get_certificate http` (docs/how-to/caddy.md). Requests above "
        "the rate limit get 204 too.",
        parameters=[_SERVER_NAME, _LOCAL_IP, _SIGNATURE_SCHEMES, _CIPHER_SUITES],
        allow=CADDY,
        allows_other_parameters=True,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        resp.set_header("Cache-Control", "no-store")
        sni = _text(req, "server_name")
        name = server_name(sni) if sni else address_of(_text(req, "local_ip"))
        supported = key_types(_text(req, "signature_schemes"), _text(req, "cipher_suites"))
        bundle = name and self._service.bundle(req.context.principal, name, supported)
        if not bundle:
            resp.status = 204
            return
        resp.content_type = _PEM
        resp.data = bundle.reveal()


class CaddyAskResource(Resource[Terminators]):
    """The permission endpoint for Caddy's on-demand TLS."""

    has_head = False
    speaks_json = False

    @operation(
        "Check whether Caddy may serve a name",
        {200: Answer("A certificate is served for the name.", ServedName)},
        description="For the `ask` of Caddy's `on_demand_tls` (docs/how-to/caddy.md).",
        parameters=[_DOMAIN],
        refusals=[NotFound, Invalid],
        allow=CADDY,
        allows_other_parameters=True,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        hostname = query.hostname("domain")
        query.check()
        self._service.require_served(req.context.principal, hostname)
        responses.send_uncached(resp, ServedName(hostname))


class FeedResource(Resource[Feed]):
    """The feed that agents follow."""

    has_head = False

    @operation(
        "Follow the feed of active certificates",
        {200: Answer("A page of a snapshot, or of changes.", FeedPage)},
        description="Without `since`, or if `since` is too old, the feed starts with a snapshot. "
        "See docs/reference/terminator-feed.md.",
        parameters=[_SINCE, _WAIT, _LIMIT],
        refusals=[Invalid],
        allow=TERMINATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        example = "0123456789abcdef.1.2.3"
        since = query.text("since", _Cursor, "the cursor of an earlier response", example)
        wait = query.whole("wait", 0, 0, _LONGEST_WAIT)
        limit = query.whole("limit", _DEFAULT_LIMIT, 1, _LARGEST_LIMIT)
        query.check()
        resp.set_header("Cache-Control", "no-store")
        page = self._service.page(req.context.principal, since or "", wait, limit)
        resp.data = page.reveal()


class ReportsResource(Resource[TerminatorReports]):
    """Reports of agents."""

    @operation(
        "Report served certificates",
        {204: Answer("Stored.")},
        description="Send only changes since the last report. Certificates outside the token's "
        "scope are ignored.",
        body=Report,
        parameters=[IDEMPOTENCY_KEY],
        refusals=[Conflict],
        allow=TERMINATORS,
    )
    def on_post(self, req: Request, resp: Response) -> None:
        report = request_parsing.read(req, Report)
        idempotent = responses.idempotent(req, responses.deleted)
        self._service.store(req.context.principal, report, idempotent)
        resp.status = 204


class TerminatorsResource(Resource[TerminatorPages]):
    """All terminators that have reported."""

    @operation(
        "List terminators",
        {200: Answer("Terminators by id.", list[TerminatorView], headers=("Link",))},
        description="Shows when each terminator last reported, and how far it lags behind.",
        parameters=PAGE,
        refusals=[Invalid],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        terminators, next_after = self._service.page(*pagination.requested(req))
        pagination.link_next(req, resp, next_after)
        responses.send_uncached(resp, terminators)


class TerminatorResource(Resource[TerminatorReports]):
    """One terminator."""

    @operation(
        "Delete a terminator and its reports",
        {204: Answer("Deleted. If the terminator reports again, it is listed again.")},
        parameters=[IDEMPOTENCY_KEY],
        refusals=[NotFound],
        allow=OPERATORS,
    )
    def on_delete(self, req: Request, resp: Response, terminator_id: int) -> None:
        idempotent = responses.idempotent(req, responses.deleted)
        self._service.delete(req.context.principal, terminator_id, idempotent)
        resp.status = 204


class TraefikResource(Resource[Terminators]):
    """The endpoint for Traefik's HTTP provider."""

    has_head = False

    @operation(
        "Get all certificates and keys for Traefik",
        {200: Answer("The dynamic configuration.", TraefikConfiguration)},
        description="For Traefik's HTTP provider (docs/how-to/traefik.md). The bytes of the "
        "response change only if a certificate changes. At most 64 MiB of certificates.",
        parameters=[IF_NONE_MATCH],
        refusals=[Conflict],
        allow=TERMINATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        known = etags.if_none_match(req)
        tag, configuration = self._service.configuration(req.context.principal, known.admit)
        etags.send(resp, tag, configuration.reveal() if configuration else None)
        resp.set_header("Cache-Control", "no-store")


def _text(req: Request, name: str) -> str:
    """Returns a query parameter, or an empty string if it is missing or repeated.

    Caddy repeats no parameter.
    """
    value = req.params.get(name)
    return value if isinstance(value, str) else ""
