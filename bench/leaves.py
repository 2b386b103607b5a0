"""Certificates as a public CA issues them, each with a key of its own, as uploads."""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ObjectIdentifier,
)

from tests.pki import authority

_ROOT, _ISSUER = "Example Root X1", "Example Issuing CA E1"
_SCT_LIST = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_DOMAIN_VALIDATED = ObjectIdentifier("2.23.140.1.2.1")
_URL = "http://e1.example.org"


class Authority:
    """A root, an intermediate with RSA, and the leaves that they issue from now on."""

    def __init__(self) -> None:
        # Its clock is the one of tests, and certificates are to be valid now.
        self._offset = datetime.now(UTC) - authority.NOW
        self._key = authority.rsa_key()
        self.root = self._pem(authority.an_authority(_ROOT, _ROOT))
        self.intermediate = self._pem(authority.an_authority(_ISSUER, _ROOT, key=self._key))

    def uploads(self, number: int) -> Iterator[str]:
        """`number` of them, active: each for a domain and its name with www."""
        for one in range(number):
            names = [f"customer-{one}.example.com", f"www.customer-{one}.example.com"]
            key = ec.generate_private_key(ec.SECP256R1())
            leaf = authority.issue(
                names[0],
                _ISSUER,
                key=key,
                signer=self._key,
                start=self._offset - timedelta(days=1),
                end=self._offset + timedelta(days=89),
                hostnames=names,
                purposes=[ExtendedKeyUsageOID.SERVER_AUTH],
                more=[*_EXTENSIONS, (_timestamps(), False)],
            )
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            yield json.dumps(
                {
                    "body": self._pem(leaf) + self.intermediate,
                    "private_key": base64.b64encode(pem).decode(),
                    "active": True,
                }
            )

    @staticmethod
    def _pem(certificate: x509.Certificate) -> str:
        return certificate.public_bytes(Encoding.PEM).decode()


def _timestamps() -> x509.UnrecognizedExtension:
    """Signed timestamps of two logs (RFC 6962, 3.3), with random ids and signatures."""
    timestamp = int(datetime.now(UTC).timestamp() * 1000).to_bytes(8, "big")
    timestamps = b"".join(
        _vector(
            b"\0" + os.urandom(32) + timestamp + _vector(b"") + b"\4\3" + _vector(os.urandom(71))
        )
        for _ in range(2)
    )
    listed = _vector(timestamps)
    # A DER octet string.
    return x509.UnrecognizedExtension(_SCT_LIST, b"\x04\x81" + bytes([len(listed)]) + listed)


def _vector(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


_EXTENSIONS: list[tuple[x509.ExtensionType, bool]] = [
    (
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.CA_ISSUERS,
                    x509.UniformResourceIdentifier(f"{_URL}/issuer"),
                )
            ]
        ),
        False,
    ),
    (
        x509.CRLDistributionPoints(
            [
                x509.DistributionPoint(
                    [x509.UniformResourceIdentifier(f"{_URL}/97.crl")], None, None, None
                )
            ]
        ),
        False,
    ),
    (x509.CertificatePolicies([x509.PolicyInformation(_DOMAIN_VALIDATED, None)]), False),
]
