"""/console/static: htmx, the script and the style sheet"""

from falcon import HTTPRouteNotFound, Request, Response

from ..services.access.permissions import ANYBODY
from . import static_files
from .page import Page


class AssetPage(Page):
    """A static file. Its URL contains its digest, so browsers keep it forever."""

    allow = ANYBODY
    is_static = True

    def on_get(self, _req: Request, resp: Response, digest: str, name: str) -> None:
        if name not in static_files.names() or digest != static_files.digest_of(name):
            raise HTTPRouteNotFound()
        resp.content_type = static_files.TYPES[static_files.suffix(name)]
        resp.set_header("Cache-Control", "public, max-age=31536000, immutable")
        resp.data = static_files.content_of(name)
