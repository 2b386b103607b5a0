"""What a server that terminates TLS serves for a name."""

import socket
import ssl
from hashlib import sha256

# Whoever offers these gets a certificate with a key of the kind, up to TLS 1.2: in 1.3 the cipher
# says nothing of the certificate (RFC 8446, 1.2), and Python cannot choose signatures before 3.15.
_CIPHERS = {"rsa": "ECDHE+aRSA:RSA", "ecdsa": "ECDHE+aECDSA"}


class ProbeFailure(Exception):  # noqa: N818
    """No certificate was seen; the message says why."""


def served(
    host: str, port: int, hostname: str, key_type: str | None = None, seconds: float = 10
) -> str:
    """The SHA-256 of the certificate that the server at `host` and `port` serves for `hostname`,
    in hexadecimal: to a client that takes keys of `key_type` alone ("rsa", "ecdsa"; None: any).

    Whether anybody should trust it is not looked at. Raises ProbeFailure, after `seconds` without
    an answer at the latest.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if key_type in _CIPHERS:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS[key_type])
    try:
        with (
            socket.create_connection((host, port), seconds) as plain,
            context.wrap_socket(plain, server_hostname=hostname) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ProbeFailure(str(reason)) from None
    if not certificate:
        raise ProbeFailure("The server presented no certificate.")
    return sha256(certificate).hexdigest()
