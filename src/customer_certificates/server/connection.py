"""A client's connection: parses its requests, and responds in order."""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import httptools

from ..middleware.refused import STATUS
from .request import BadTarget, Environ, Response, add_header, add_target, environ_for, run_app

if TYPE_CHECKING:
    from .listener import HttpServer

Phase = Literal["idle", "head", "body", "closing"]

_HEAD_BYTES = 32 * 1024
_MAX_HEADERS = 100
# At most this much is parsed at a time, which limits the number of pipelined requests.
_SLICE_BYTES = 4096
# Must exceed the proxies' keep-alive timeout (nginx: 60 s), so the proxy closes first.
_IDLE_SECONDS = 65
_HEAD_SECONDS = 10
_SHED_SECONDS = 5
_BODY_SECONDS = 10
_BODY_BYTES_A_SECOND = 1024
_UNREAD_SECONDS = 30
_UNREAD_BYTES_A_SECOND = 1024
# A rejected client that still sends gets the response before the connection is reset.
_CLOSING_SECONDS = 2
_CLOSING_BYTES = 8 * 2**20
_WITHOUT_BODY = ("204", "304")
# Stands for a request that could not be parsed.
_UNPARSED = {"REQUEST_METHOD": "UNKNOWN", "PATH_INFO": "/", "QUERY_STRING": ""}

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Request:
    """A request. `rejected` is the status of the response to a rejected one."""

    environ: Environ
    body: bytes
    keep_alive: bool
    rejected: HTTPStatus | None = None


class Connection(asyncio.Protocol):
    """Reads one request at a time.

    The next one is parsed after the response to this one was taken.
    """

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._phase: Phase = "idle"
        self._since = 0.0
        self._busy = False
        self._requests: deque[_Request] = deque()
        self._unparsed = b""
        # The next response is the last; later bytes are ignored; the request is incomplete; the
        # client has ended its side.
        self._is_last = self._ignores_input = self._is_cut_short = self._has_ended = False
        self._unread_since: float | None = None
        self._unread = 0
        self._task: asyncio.Task[None] | None = None
        self._environ: Environ = {}
        self._common: Environ = {}
        self._target = b""
        self._body = bytearray()
        self._head_bytes = self._headers = self._received = 0
        self._dispatched = False
        self.peer = ""

    # Called by the event loop.

    def connection_made(self, transport: Any) -> None:
        self._transport: Any = transport
        # The loop calls `pause_writing` for any unsent byte. With 0, uvloop calls it for TLS even
        # if it has sent all bytes.
        transport.set_write_buffer_limits(high=1)
        self.peer = transport.get_extra_info("peername")[0]
        server = self._server
        scheme = "https" if server.is_tls else "http"
        self._common = environ_for(server.host, server.port, scheme, self.peer)
        self._since = server.now()
        server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase, self._is_last, self._ignores_input = "closing", True, True
        self._unread_since = None
        self._requests.clear()
        self._unparsed = b""
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._ignores_input:
            self._received += len(data)
            if self._received > _CLOSING_BYTES:
                self._transport.abort()
        elif self._busy:
            self._unparsed += data
            self._transport.pause_reading()
        else:
            self._parse(data)

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._phase in ("head", "body") and not self._ignores_input:
            self._reject(HTTPStatus.BAD_REQUEST)
        self._is_last = True
        # TLS has no half-closed connections.
        return (self._busy or self._unread_since is not None) and not self._server.is_tls

    def pause_writing(self) -> None:
        self._unread_since = self._server.now()
        self._unread = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self._unread_since = None
        if self._busy and self._task is None:
            self._start_next()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._phase, self._since = "head", self._server.now()
        self._environ, self._target = self._common.copy(), b""
        self._body, self._head_bytes, self._headers, self._received = bytearray(), 0, 0, 0
        self._dispatched = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        if self._headers <= _MAX_HEADERS:
            add_header(self._environ, name, value)

    def on_headers_complete(self) -> None:
        environ = self._environ
        if self._headers > _MAX_HEADERS:
            self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        version = self._parser.get_http_version()
        if version == "1.0":
            environ["SERVER_PROTOCOL"] = "HTTP/1.0"
        elif version != "1.1":
            self._reject(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
            return
        try:
            add_target(environ, self._parser.get_method(), self._target)
        except BadTarget:
            self._reject(HTTPStatus.BAD_REQUEST)
            return
        self._phase, self._since = "body", self._server.now()
        if int(environ.get("CONTENT_LENGTH") or 0) > self._server.most_body_bytes:
            self._dispatch(keep_alive=False, is_complete=False)
        elif environ.get("HTTP_EXPECT", "").lower() == "100-continue" and not self._busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._dispatched:
            return
        self._received += len(body)
        self._body += body
        if self._received > self._server.most_body_bytes:
            self._dispatch(keep_alive=False, is_complete=False)

    def on_message_complete(self) -> None:
        if not self._dispatched:
            self._dispatch(keep_alive=self._parser.should_keep_alive(), is_complete=True)
        self._phase, self._since = "idle", self._server.now()
        self._environ = {}

    # Called by the server.

    def is_idle(self, now: float) -> bool:
        """Whether the client is idle: no request or no read for five seconds."""
        if self._unread_since is not None:
            return now - self._unread_since >= _SHED_SECONDS
        return not self._busy and now - self._since >= _SHED_SECONDS

    @property
    def unread(self) -> int:
        """The number of response bytes that the client has not read."""
        return 0 if self._unread_since is None else int(self._transport.get_write_buffer_size())

    def close_if_slow(self, now: float) -> None:
        """Closes the connection if the client is too slow."""
        if self._unread_since is not None:
            unread, seconds = self.unread, now - self._unread_since
            if seconds >= _UNREAD_SECONDS:
                if self._unread - unread < seconds * _UNREAD_BYTES_A_SECOND:
                    self.cut("slow")
                self._unread_since, self._unread = now, unread
        elif self._busy:
            return
        elif self._phase == "closing":
            if now - self._since > _CLOSING_SECONDS:
                self._transport.abort()
        elif self._phase == "idle":
            if now - self._since > _IDLE_SECONDS:
                self._transport.close()
        else:
            is_head = self._phase == "head"
            seconds = now - self._since
            if seconds >= (_HEAD_SECONDS if is_head else _BODY_SECONDS) and (
                is_head or self._received < seconds * _BODY_BYTES_A_SECOND
            ):
                self._server.on_cut("slow")
                self._reject(HTTPStatus.REQUEST_TIMEOUT)

    def cut(self, reason: str) -> None:
        """Closes the connection at once."""
        self._server.on_cut(reason)
        self._transport.abort()

    def close_if_idle(self) -> None:
        """Closes the connection if no request has begun on it."""
        if self._phase == "idle" and not self._busy:
            self._transport.close()

    def _parse(self, data: bytes) -> None:
        """Feeds the parser until a request is complete; keeps the rest for later."""
        start = 0
        while start < len(data) and not self._busy and not self._ignores_input:
            piece = data[start : start + _SLICE_BYTES] if len(data) > _SLICE_BYTES else data
            start += len(piece)
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                # Answered as an ordinary request. Later bytes would belong to another protocol.
                self._is_last = self._ignores_input = True
                return
            except httptools.HttpParserError:
                if not self._ignores_input:
                    self._reject(HTTPStatus.BAD_REQUEST)
                return
            if self._phase == "head":
                self._head_bytes += len(piece)
                if self._head_bytes > _HEAD_BYTES:
                    self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if start < len(data) and not self._ignores_input:
            self._unparsed = data[start:]
            self._transport.pause_reading()

    def _dispatch(self, *, keep_alive: bool, is_complete: bool) -> None:
        self._dispatched = True
        self._ignores_input = not keep_alive
        self._is_cut_short = not is_complete
        self._enqueue(_Request(self._environ, bytes(self._body), keep_alive=keep_alive))

    def _reject(self, status: HTTPStatus) -> None:
        """Responds with an error, as the last response."""
        self._dispatched = self._ignores_input = self._is_cut_short = True
        environ = self._environ or self._common
        self._enqueue(_Request(environ, b"", keep_alive=False, rejected=status))

    def _enqueue(self, request: _Request) -> None:
        self._requests.append(request)
        if not self._busy:
            self._start_next()

    def _start_next(self) -> None:
        """Responds to the next request, once there is one."""
        self._busy = False
        while not self._requests and self._unparsed and not self._ignores_input:
            unparsed, self._unparsed = self._unparsed, b""
            # May call this method.
            self._parse(unparsed)
            if self._busy:
                return
        if self._requests:
            self._busy = True
            request = self._requests.popleft()
            self._task = self._server.start(self._respond(request))
        elif self._is_last:
            self._finish()
        else:
            self._since = self._server.now()
            self._transport.resume_reading()

    async def _respond(self, request: _Request) -> None:
        environ = request.environ
        if request.rejected:
            environ = _UNPARSED | environ | {STATUS: int(request.rejected)}
        try:
            response = await run_app(self._server.app, environ, request.body)
        except Exception:
            _log.exception("A request failed")
            response = "500 Internal Server Error", list[tuple[str, str]](), b""
        self._task = None
        if self._transport.is_closing():
            # The client has disconnected.
            return
        self._is_last = self._is_last or not request.keep_alive or self._server.is_draining
        try:
            encoded = self._encoded(environ, response)
        except ValueError:
            _log.exception("A response cannot be sent")
            self._transport.abort()
            return
        self._transport.write(encoded)
        self._server.limit_unread(self)
        if self._unread_since is None:
            self._start_next()

    def _encoded(self, environ: Environ, response: Response) -> bytes:
        status, headers, body = response
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        if lines.count("\n") != len(headers):
            raise ValueError("a header has several lines")
        lower = lines.lower()
        if "content-length:" not in lower and not status.startswith(_WITHOUT_BODY):
            lines += f"content-length: {len(body)}\r\n"
        if self._is_last and "connection: close" not in lower:
            lines += "connection: close\r\n"
        elif not self._is_last and environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            lines += "connection: keep-alive\r\n"
        head = f"HTTP/1.1 {status}\r\n{lines}date: {self._server.date}\r\n\r\n".encode("latin-1")
        return head if environ.get("REQUEST_METHOD") == "HEAD" else head + body

    def _finish(self) -> None:
        """Closes the connection.

        A client that is still sending has two seconds to read the response.
        """
        if self._has_ended or not self._is_cut_short:
            self._transport.close()
            return
        self._phase, self._since, self._received = "closing", self._server.now(), 0
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
