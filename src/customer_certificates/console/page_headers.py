"""The security headers of pages."""

from collections.abc import Sequence

from falcon import Request, Response

_HEADERS = {
    # Pages show data of a tenant, and the back button must not after signing out.
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Forms must send their origin.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors "
)


class PageHeaders:
    """Sets the headers of each response, error pages included: it runs before what refuses."""

    def __init__(self, frame_origins: Sequence[str]) -> None:
        """`frame_origins` may show the console in a frame."""
        self._in_frames = bool(frame_origins)
        self._headers = {
            **_HEADERS,
            "Content-Security-Policy": _POLICY + (" ".join(frame_origins) or "'none'"),
        }
        if not frame_origins:
            self._headers["X-Frame-Options"] = "DENY"

    def process_request(self, req: Request, resp: Response) -> None:
        """Sets the headers."""
        resp.set_headers(self._headers)
        req.context.in_frames = self._in_frames
