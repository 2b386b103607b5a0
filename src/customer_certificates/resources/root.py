"""/: links to the documentation and to the health check"""

import msgspec
from falcon import MEDIA_HTML, MEDIA_JSON, Request, Response

from ..services.access.permissions import ANYBODY
from ..web.operations import operation

_LINKS = {"docs": "/docs", "openapi": "/openapi.json", "healthcheck": "/healthcheck"}
_PAGE = f"""\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Customer Certificates</title>
  </head>
  <body>
    <h1>Customer Certificates</h1>
    <ul>
      <li><a href="{_LINKS["docs"]}">Documentation of the API</a></li>
      <li><a href="{_LINKS["openapi"]}">OpenAPI description</a></li>
      <li><a href="{_LINKS["healthcheck"]}">Health check</a></li>
    </ul>
  </body>
</html>
"""


class RootResource:
    """The start page: HTML for browsers, JSON for other clients."""

    speaks_json = False

    @operation("Links to the documentation and the health check", {}, allow=ANYBODY)
    def on_get(self, req: Request, resp: Response) -> None:
        resp.vary = ("Accept",)
        resp.set_header("X-Content-Type-Options", "nosniff")
        if req.client_prefers((MEDIA_JSON, "text/html")) == "text/html":
            resp.content_type = MEDIA_HTML
            resp.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
            resp.text = _PAGE
        else:
            resp.data = msgspec.json.encode(_LINKS)

    on_head = on_get
