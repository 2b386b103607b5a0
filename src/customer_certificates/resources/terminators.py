"""/terminators and what is below: for what serves TLS, and of it"""

from typing import Annotated

import msgspec
from falcon import Request, Response
from msgspec import Meta

from ..errors import Conflict, Invalid, NotFound
from ..pki.client_hello import key_types
from ..pki.names.hostnames import address_of, server_name
from ..services.access.permissions import CADDY, OPERATORS, TERMINATORS
from ..services.etags import encode
from ..services.terminators.exports import Terminators, TraefikConfiguration
from ..services.terminators.feed import Feed, FeedPage
from ..services.terminators.listing import TerminatorPages, TerminatorView
from ..services.terminators.reports import Report, TerminatorReports
from ..web import (
    etags,
    pagination,
    request_parsing,
    responses,
)
from ..web.operations import (
    AFTER,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LIMIT,
    NOT_MODIFIED,
    Answer,
    Parameter,
    operation,
)

_PEM = "application/x-pem-file"

_SERVER_NAME = Parameter(
    "server_name",
    "query",
    "The name that the client of the handshake sent (SNI). What is no hostname is not ours: 204.",
    {"type": "string", "examples": ["www.example.com"]},
)
_LOCAL_IP = Parameter(
    "local_ip",
    "query",
    "The address at which the client reached Caddy. It stands for the name if the client sent none,"
    " as clients do that connect to an IP address.",
    {"type": "string", "examples": ["192.0.2.1"]},
)
_SIGNATURE_SCHEMES = Parameter(
    "signature_schemes",
    "query",
    "What signatures the client verifies: numbers in hexadecimal, with commas between.",
    {"type": "string", "examples": ["403,804,401"]},
)
_CIPHER_SUITES = Parameter(
    "cipher_suites",
    "query",
    "What ciphers the client has, in the same form.",
    {"type": "string", "examples": ["1301,c02b,c02f"]},
)
_DOMAIN = Parameter(
    "domain",
    "query",
    "The name for which Caddy asks.",
    {"type": "string", "minLength": 1, "maxLength": 253, "examples": ["www.example.com"]},
    required=True,
)


_LONGEST_WAIT = 60
_DEFAULT_LIMIT = 500
_LARGEST_LIMIT = 1000
_SINCE = Parameter(
    "since",
    "query",
    "The `cursor` of the answer before; without it a snapshot begins.",
    {"type": "string", "maxLength": 200},
)
_WAIT = Parameter(
    "wait",
    "query",
    "For how many seconds to wait where nothing has changed yet.",
    {"type": "integer", "minimum": 0, "maximum": _LONGEST_WAIT, "default": 0},
)
_LIMIT = Parameter(
    "limit",
    "query",
    "How many certificates at most; a page of large ones ends sooner.",
    {"type": "integer", "minimum": 1, "maximum": _LARGEST_LIMIT, "default": _DEFAULT_LIMIT},
)
_Cursor = Annotated[str, Meta(max_length=200)]


class Ours(msgspec.Struct):
    """A name for which a certificate is served."""

    domain: Annotated[str, Meta(description="As certificates have it.", examples=["www.a.org"])]


class CaddyResource:
    """What Caddy's `get_certificate http` asks for at a handshake. Any other status than 200 and
    204 would end the handshake, whosever the name is."""

    speaks_json = False
    is_silent_beyond_limits = True

    def __init__(self, terminators: Terminators) -> None:
        self._terminators = terminators

    @operation(
        "Give Caddy a certificate and its key",
        {
            200: Answer("The chain, then the key, in PEM.", media_type=_PEM),
            204: Answer("The name is not ours, or nothing can be served for it."),
        },
        description="As `get_certificate http` asks (docs/how-to/caddy.md). Whoever asks for "
        "more than its share is answered 204 too.",
        parameters=[_SERVER_NAME, _LOCAL_IP, _SIGNATURE_SCHEMES, _CIPHER_SUITES],
        allow=CADDY,
        allows_other_parameters=True,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        resp.set_header("Cache-Control", "no-store")
        sent = _text(req, "server_name")
        name = server_name(sent) if sent else address_of(_text(req, "local_ip"))
        kinds = key_types(_text(req, "signature_schemes"), _text(req, "cipher_suites"))
        bundle = name and self._terminators.bundle(req.context.caller, name, kinds)
        if not bundle:
            resp.status = 204
            return
        resp.content_type = _PEM
        resp.data = bundle.reveal()


class CaddyAskResource:
    """What Caddy's on-demand TLS asks before it sees to a certificate for a name."""

    speaks_json = False

    def __init__(self, terminators: Terminators) -> None:
        self._terminators = terminators

    @operation(
        "Tell Caddy whether a name is ours",
        {200: Answer("It is: a certificate is served for it.", Ours)},
        description="As `on_demand_tls` asks (docs/how-to/caddy.md).",
        parameters=[_DOMAIN],
        refusals=[NotFound, Invalid],
        allow=CADDY,
        allows_other_parameters=True,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        hostname = query.hostname("domain")
        query.check()
        self._terminators.require_served(req.context.caller, hostname)
        resp.set_header("Cache-Control", "no-store")
        resp.data = encode(Ours(hostname))


class FeedResource:
    """What agents follow."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    @operation(
        "Follow what is to be served",
        {200: Answer("What is to be served, or what of it has changed.", FeedPage)},
        description="See docs/reference/terminator-feed.md. Without `since`, or if it is too old, "
        "a snapshot comes first.",
        parameters=[_SINCE, _WAIT, _LIMIT],
        refusals=[Invalid],
        allow=TERMINATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        since = query.text(
            "since", _Cursor, "the cursor of an earlier response", "0123456789abcdef.1.2.3"
        )
        wait = query.whole("wait", 0, 0, _LONGEST_WAIT)
        limit = query.whole("limit", _DEFAULT_LIMIT, 1, _LARGEST_LIMIT)
        query.check()
        resp.set_header("Cache-Control", "no-store")
        page = self._feed.page(req.context.caller, since or "", wait, limit)
        resp.data = page.reveal()


class ReportsResource:
    """What agents say of themselves."""

    def __init__(self, serving: TerminatorReports) -> None:
        self._serving = serving

    @operation(
        "Report what is served",
        {204: Answer("Remembered.")},
        description="Only what has changed since the last report. What the token is not for is "
        "passed over.",
        body=Report,
        parameters=[IDEMPOTENCY_KEY],
        refusals=[Conflict],
        allow=TERMINATORS,
    )
    def on_post(self, req: Request, resp: Response) -> None:
        report = request_parsing.read(req, Report)
        once = responses.once(req, responses.gone)
        self._serving.take(req.context.caller, report, once)
        resp.status = 204


class TerminatorsResource:
    """All that have reported."""

    def __init__(self, pages_of: TerminatorPages) -> None:
        self._pages = pages_of

    @operation(
        "List terminators",
        {200: Answer("Terminators, by id.", list[TerminatorView], headers=("Link",))},
        description="What serves TLS, when it last reported, and how far it lags.",
        parameters=[LIMIT, AFTER],
        refusals=[Invalid],
        allow=OPERATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        query = request_parsing.Query(req)
        after, limit = pagination.wanted(query)
        query.check()
        terminators, next_after = self._pages.page(after, limit)
        pagination.link_next(req, resp, next_after)
        resp.set_header("Cache-Control", "no-store")
        resp.data = encode(terminators)

    on_head = on_get


class TerminatorResource:
    """One of them."""

    def __init__(self, serving: TerminatorReports) -> None:
        self._serving = serving

    @operation(
        "Forget what a terminator has reported",
        {204: Answer("It is listed no more, unless it reports again.")},
        parameters=[IDEMPOTENCY_KEY],
        refusals=[NotFound],
        allow=OPERATORS,
    )
    def on_delete(self, req: Request, resp: Response, terminator_id: int) -> None:
        once = responses.once(req, responses.gone)
        self._serving.forget(req.context.caller, terminator_id, once)
        resp.status = 204


class TraefikResource:
    """What Traefik's HTTP provider polls."""

    def __init__(self, terminators: Terminators) -> None:
        self._terminators = terminators

    @operation(
        "Give Traefik all certificates and their keys",
        {
            200: Answer("Its dynamic configuration.", TraefikConfiguration, headers=("ETag",)),
            304: NOT_MODIFIED,
        },
        description="As its HTTP provider polls it (docs/how-to/traefik.md). The same bytes "
        "as long as nothing changes. At most 64 MiB of certificates.",
        parameters=[IF_NONE_MATCH],
        refusals=[Conflict],
        allow=TERMINATORS,
    )
    def on_get(self, req: Request, resp: Response) -> None:
        known = etags.known(req)
        tag, configuration = self._terminators.configuration(req.context.caller, known.admit)
        etags.send(resp, tag, configuration.reveal() if configuration else None)
        resp.set_header("Cache-Control", "no-store")


def _text(req: Request, name: str) -> str:
    """A query parameter; nothing where it came several times, as Caddy sends none."""
    value = req.params.get(name)
    return value if isinstance(value, str) else ""
