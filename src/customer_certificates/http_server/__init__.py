"""The HTTP server of a worker: connections in the event loop, a WSGI application in greenlets."""

from .server import HttpServer as HttpServer
