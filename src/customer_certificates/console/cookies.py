"""The session cookie, and the CSRF token that belongs to it."""

import base64
import hmac

from falcon import Request, Response

from ..crypto.token_format import new_secret

# RFC 6265bis, 4.1.3.2: the browser accepts it over HTTPS alone, for this host alone.
NAME = "__Host-console"
# Browsers send a cookie of each kind after a change of the settings: only one of them counts.
NAME_IN_FRAMES = "__Host-console-framed"


def secret_of(req: Request) -> str | None:
    """Returns the secret in the cookie; None if there is no cookie, or more than one."""
    values = req.get_cookie_values(_name(req))
    return values[0] if values and len(values) == 1 else None


def set_secret(req: Request, resp: Response, secret: str) -> None:
    """Sets the cookie until the browser closes.

    Pages of other sites that may show the console in a frame have a cookie each (Partitioned).
    """
    framed = req.context.in_frames
    resp.set_cookie(
        _name(req),
        secret,
        secure=True,
        http_only=True,
        same_site="None" if framed else "Lax",
        partitioned=framed,
        path="/",
    )


def set_new_secret(req: Request, resp: Response) -> str:
    """Sets a cookie that names no session, and returns its secret."""
    secret = new_secret()
    set_secret(req, resp, secret)
    return secret


def csrf_token(secret: str) -> str:
    """Returns the CSRF token of the forms that are shown with this cookie."""
    digest = hmac.digest(secret.encode("utf-8", "surrogatepass"), b"csrf", "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def is_csrf_token(token: str, secret: str) -> bool:
    """Returns whether `token` belongs to the cookie, in constant time."""
    return hmac.compare_digest(token.encode(), csrf_token(secret).encode())


def _name(req: Request) -> str:
    return NAME_IN_FRAMES if req.context.in_frames else NAME
