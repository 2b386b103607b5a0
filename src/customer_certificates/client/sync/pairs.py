"""Tests a certificate and its private key as a TLS server loads them."""

import os
import re
import ssl
from base64 import b64decode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ...pki.keys.public_keys import EXPLICIT_CURVE

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
# How OpenSSL says that the key is of another type or size than the certificate's.
_MISMATCHES = ("no certificate assigned", "key values mismatch")


def load_errors(pems: Iterable[bytes]) -> list[str | None]:
    """Why a server cannot load each pair, in order; None if it can."""
    # OpenSSL lets other threads run while it reads a pair.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(load_error, pems))


def load_error(pem: bytes) -> str | None:
    """Why a server cannot load a chain and its key from `pem`; None if it can.

    Uses the OpenSSL of this host, as nginx and HAProxy do, at security level 2.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=2")
    # An anonymous file in memory: the key is written to no disk.
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        # If no password were given, OpenSSL would ask for one at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
        if any(EXPLICIT_CURVE in b64decode(body) for body in _CERTIFICATE.findall(pem)):
            # OpenSSL loads them if they describe a curve that it knows. Clients refuse them.
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
