"""Tests a certificate and its private key as a TLS server loads them."""

import os
import re
import ssl
from base64 import b64decode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ...pki.keys.public_keys import EXPLICIT_CURVE

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
# OpenSSL's errors for a key whose type or size differs from the certificate's.
_MISMATCHES = ("no certificate assigned", "key values mismatch")


def load_errors(pems: Iterable[bytes]) -> list[str | None]:
    """Returns why a server cannot load each pair, in order. None means it can."""
    # OpenSSL releases the GIL while it reads a pair.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(load_error, pems))


def load_error(pem: bytes) -> str | None:
    """Returns why a server cannot load the pair `pem`, or None if it can.

    Uses the OpenSSL of this host, as nginx and HAProxy do, at security level 2.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=2")
    # Use an anonymous file in memory, so that the key is never written to disk.
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        # Without a password, OpenSSL would prompt for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
        if any(EXPLICIT_CURVE in b64decode(body) for body in _CERTIFICATE.findall(pem)):
            # OpenSSL loads explicit parameters of a known curve, but clients reject them.
            return "the certificate has explicit EC parameters"
    except (ssl.SSLError, ValueError) as error:
        return _reason(error)
    finally:
        os.close(descriptor)
    return None


def _reason(error: Exception) -> str:
    reason = (getattr(error, "reason", None) or "").lower().replace("_", " ")
    if reason in _MISMATCHES:
        return "the private key does not match the certificate"
    return reason or "the chain or the private key cannot be read"
