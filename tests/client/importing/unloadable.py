"""Certificates that a TLS server cannot load, or that no client accepts, one of each kind."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ...pki.authority import NOW, ec_key, issue, rsa_key
from ..sync.feed_stub import Entry, entry

KINDS = ("rsa-1024", "rsa-pss-and-pkcs1-key", "explicit-curve", "key-of-another")
_OPENSSL = {
    "rsa-pss-and-pkcs1-key": "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048",
    "explicit-curve": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 "
    "-pkeyopt ec_param_enc:explicit",
}


def unloadable(kind: str, number: int, hostname: str, folder: Path, **changes: object) -> Entry:
    """The feed's entry for a certificate of one of KINDS; `folder` is for temporary files."""
    if kind in _OPENSSL:
        leaf, key = _made_by_openssl(_OPENSSL[kind], hostname, folder)
        # Written anew, the key says that it is for PKCS#1, not that it is for PSS alone.
        return entry(number, leaf, key, **changes)
    own = rsa_key(1024) if kind == "rsa-1024" else ec_key(hostname)
    end = datetime.now(UTC) + timedelta(days=90) - NOW
    leaf = issue(hostname, hostname, key=own, signer=own, hostnames=[hostname], end=end)
    other = ec_key("another") if kind == "key-of-another" else own
    return entry(number, leaf, other, **changes)


def _made_by_openssl(
    words: str, hostname: str, folder: Path
) -> tuple[x509.Certificate, CertificateIssuerPrivateKeyTypes]:
    key, leaf = folder / f"{hostname}.key", folder / f"{hostname}.pem"
    request = ["req", "-x509", "-key", str(key), "-out", str(leaf), "-days", "90"]
    names = ["-subj", f"/CN={hostname}", "-addext", f"subjectAltName=DNS:{hostname}"]
    for command in ([*words.split(), "-out", str(key)], [*request, *names]):
        subprocess.run(["openssl", *command], check=True, capture_output=True, timeout=60)
    private_key = load_pem_private_key(key.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(leaf.read_bytes())
    return certificate, private_key  # pyrefly: ignore[bad-return]
