"""Probes which certificate a TLS server presents for a name."""

import socket
import ssl
from hashlib import sha256

# A client that offers only these gets a certificate with this type of key, up to TLS 1.2. In 1.3
# the cipher does not depend on the certificate (RFC 8446, 1.2), and Python cannot choose signatures
# before 3.15.
_CIPHERS = {"rsa": "ECDHE+aRSA:RSA", "ecdsa": "ECDHE+aECDSA"}


class ProbeFailure(Exception):  # noqa: N818
    """The server presented no certificate; the message says why."""


def served(
    host: str, port: int, hostname: str, key_type: str | None = None, seconds: float = 10
) -> str:
    """Returns the SHA-256 of the served certificate in hexadecimal.

    Connects to `host` and `port` for `hostname`, as a client that accepts only keys of `key_type`
    ("rsa", "ecdsa"; None: any). Does not check whether the certificate is trusted. Raises
    ProbeFailure, after `seconds` at the latest.
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
