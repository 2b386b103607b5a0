"""The WSGI application: middleware, routes and error handlers."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import falcon
from falcon import Request, Response

from .composition import Services, utc_now
from .config import Config
from .console import problem_pages
from .console.access import ConsoleAccess, SignInRequired
from .console.page_headers import PageHeaders
from .console_routes import CONSOLE_ROUTES
from .errors import Refusal
from .gateways.database import modes
from .gateways.metrics import Metrics
from .gateways.request_lines import RequestLines
from .middleware.access_log import AccessLog
from .middleware.authentication import Authenticated
from .middleware.client_address import ClientAddress
from .middleware.idempotency import Idempotency
from .middleware.json_only import JsonOnly
from .middleware.loopback_only import LoopbackOnly
from .middleware.query_parameters import QueryParameters
from .middleware.rate_limit import RateLimit, RateLimitOfRefused
from .middleware.refused import Refused
from .middleware.tenants import Tenants
from .resources.docs import DocsResource, OpenApiResource, RootResource
from .resources.metrics import MetricsResource
from .resources.terminators import CaddyAskResource, CaddyResource
from .routes import ROUTES
from .services.idempotency import Replayed
from .web import problems, responses
from .web.api_description import openapi
from .web.converters import HostnameConverter, IdConverter

ErrorHandlers = tuple[Callable[..., None], Callable[..., None], Callable[..., None]]
_HEALTH = ("/healthcheck", "/livez", "/readyz")


class Application(falcon.App[falcon.Request, falcon.Response]):
    """The WSGI application and its lifecycle hooks.

    `close` releases its resources. `stop_waiting` wakes requests that wait for a change. `on_cut`
    counts client connections that the service closed. `admin` is the application for monitoring,
    without authentication.
    """

    # Falcon would reject WEBSOCKET before any middleware, and so without a request ID.
    _META_METHODS = frozenset()

    close: Callable[[], object]
    on_cut: Callable[[str], None]
    stop_waiting: Callable[[], None]
    admin: "Application"
    console: "Application | None" = None

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Responds to a request: the console has its own routes and middleware."""
        path = env["PATH_INFO"]
        if self.console is not None and (path == "/console" or path.startswith("/console/")):
            return self.console(env, start_response)
        return super().__call__(env, start_response)

    def add_routes(
        self,
        routes: Iterable[tuple[str, object]],
        metrics: Metrics,
        handlers: ErrorHandlers = (problems.fail, problems.refuse_http, problems.refuse),
    ) -> None:
        """Adds the routes, the converters, and the handlers of errors and refusals.

        `metrics` counts the refusals.
        """
        self.req_options.strip_url_path_trailing_slash = True
        self.router_options.converters["id"] = IdConverter
        self.router_options.converters["hostname"] = HostnameConverter
        fail, refuse_http, refuse = handlers

        def count_and_refuse(
            req: Request, resp: Response, refusal: Refusal, params: dict[str, Any]
        ) -> None:
            metrics.refusal(refusal.errors)
            refuse(req, resp, refusal, params)

        self.add_error_handler(Exception, fail)
        self.add_error_handler(falcon.HTTPError, refuse_http)
        self.add_error_handler(Refusal, count_and_refuse)
        for template, resource in routes:
            self.add_route(template, resource)


def create_app(config: Config, now: Callable[[], datetime] = utc_now) -> Application:
    """Returns the WSGI application for `config`.

    `now` returns the time, aware of its zone. The database's schema must be at head. Raises
    MasterKeyError if a master key cannot be used. A server that does not respond raises nothing:
    requests that need it get 503 until it does.
    """
    services = Services(config, now)
    lines = RequestLines()
    routes = [(route.template, route.resource(*route.parts(services))) for route in ROUTES]
    undescribed = _undescribed_routes(services)
    all_routes = [*routes, *undescribed]
    names = {template: openapi.plain_template(template) for template, _ in all_routes}
    log = AccessLog(lines, services.metrics, names)
    app = Application(middleware=_middleware(services, log))
    app.add_error_handler(Replayed, responses.replay)
    app.add_routes(all_routes, services.metrics)
    app.admin = Application(middleware=[log, JsonOnly(), QueryParameters()])
    monitoring = [*(route for route in routes if route[0] in _HEALTH), *undescribed]
    app.admin.add_routes(monitoring, services.metrics)
    app.console = _console(services, lines)

    def close() -> None:
        services.close()
        lines.close()

    def stop_waiting() -> None:
        services.health.start_draining()
        services.changes.close()

    app.close = close
    app.on_cut = services.metrics.connection_closed
    app.stop_waiting = stop_waiting
    return app


def _console(services: Services, lines: RequestLines) -> Application:
    """Returns the application of the console, which accepts the session cookie only."""
    config = services.config
    routes = [(route.template, route.page(*route.parts(services))) for route in CONSOLE_ROUTES]
    names = {template: openapi.plain_template(template) for template, _ in routes}
    open_mode = None
    if not config.asks_credentials:
        open_mode = LoopbackOnly(config.allowed_clients).process_request
    console = Application(
        middleware=[
            AccessLog(lines, services.metrics, names),
            PageHeaders(config.console_frame_origins),
            Refused(),
            ClientAddress(config.trusted_proxies),
            RateLimitOfRefused(config.requests_a_second, workers=config.workers),
            ConsoleAccess(services.console_sessions, open_mode, config.public_origin),
            Tenants(),
            RateLimit(config.requests_a_second, workers=config.workers),
        ]
    )
    console.resp_options.default_media_type = falcon.MEDIA_HTML
    console.add_error_handler(SignInRequired, problem_pages.ask_to_sign_in)
    handlers = (problem_pages.fail, problem_pages.refuse_http, problem_pages.refuse)
    console.add_routes(routes, services.metrics, handlers)
    return console


def _undescribed_routes(services: Services) -> list[tuple[str, object]]:
    """Returns the routes and resources that the OpenAPI description does not contain."""
    routes: list[tuple[str, object]] = [
        ("/", RootResource()),
        ("/metrics", MetricsResource(services.metrics)),
        ("/openapi.json", OpenApiResource(description)),
        ("/docs", docs := DocsResource()),
        ("/docs/{name}", docs),
    ]
    if services.config.token_in_path and services.config.asks_credentials:
        routes += [
            ("/terminators/{token}/caddy", CaddyResource(services.terminators)),
            ("/terminators/{token}/caddy/ask", CaddyAskResource(services.terminators)),
        ]
    return routes


def _middleware(services: Services, log: AccessLog) -> list[Any]:
    """Returns the middleware, in the order of a request."""
    config = services.config
    return [
        log,
        Refused(),
        ClientAddress(config.trusted_proxies),
        RateLimitOfRefused(config.requests_a_second, workers=config.workers),
        _authentication(services),
        Tenants(),
        RateLimit(config.requests_a_second, workers=config.workers),
        JsonOnly(),
        QueryParameters(),
        Idempotency(services.idempotency),
    ]


def description() -> dict[str, Any]:
    """Returns the OpenAPI description of the API."""
    return openapi.document([(route.template, route.resource) for route in ROUTES])


def require_auth_mode(config: Config) -> None:
    """Records that the database is used with authentication, if it is.

    The schema must be at head. Raises ModeError if the database was used with authentication and
    now would be without.
    """
    modes.require_auth_mode(
        config.database_url, asks_credentials=config.asks_credentials, now=utc_now()
    )


def _authentication(services: Services) -> Authenticated | LoopbackOnly:
    config = services.config
    if not config.asks_credentials:
        return LoopbackOnly(config.allowed_clients)
    return Authenticated(
        services.authentication,
        registration_is_open=config.registration == "open",
        terminator_peers=config.terminator_peers,
    )
