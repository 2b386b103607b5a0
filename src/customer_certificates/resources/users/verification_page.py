"""The pages of a verification link.

They load no resources, run no scripts and send no Referer, so the link stays secret.
"""

import base64
from hashlib import sha256
from html import escape

from falcon import Response

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem;"
    "color:#222;background:#fff}button{font:inherit;padding:.5rem 1rem;cursor:pointer}"
    "strong{overflow-wrap:anywhere}"
)
_STYLE_HASH = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


def send_question(resp: Response, address: str) -> None:
    """Responds with the page that asks the reader to confirm `address`."""
    _send(
        resp,
        "Verify your email address",
        f"<p>Is <strong>{escape(address)}</strong> your address? Notices about TLS certificates "
        "will be sent to it.</p>\n"
        '<form method="post"><button>Verify this address</button></form>\n'
        "<p>If you did not request this, close the page.</p>",
    )


def send_done(resp: Response, address: str) -> None:
    """Responds with the page for a verified `address`."""
    _send(
        resp,
        "Your email address is verified",
        f"<p>Notices will be sent to <strong>{escape(address)}</strong>. You can close this "
        "page.</p>",
    )


def send_not_valid(resp: Response) -> None:
    """Responds with 404 and the page for an invalid link."""
    resp.status = 404
    _send(
        resp,
        "This link is not valid",
        "<p>A link works once, for 24 hours, and only for the user's current address.</p>\n"
        "<p>If you have verified your address with it, no action is needed. Otherwise "
        "request another link: <code>POST /users/…/email-verification</code>, or ask the operator "
        "of the service.</p>",
    )


def _send(resp: Response, title: str, content: str) -> None:
    resp.content_type = "text/html; charset=utf-8"
    resp.set_headers(_HEADERS)
    resp.text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n{content}\n</body>\n</html>\n"
    )
