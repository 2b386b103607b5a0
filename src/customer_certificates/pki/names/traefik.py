"""Names that Traefik serves a certificate for beyond its subjectAltName."""

from cryptography import x509
from cryptography.x509.oid import NameOID

from .hostnames import normalise


def common_names(chain_pem: str) -> frozenset[str] | None:
    """Returns the normalized common names of the leaf that Traefik matches.

    Traefik treats the common name as a hostname, splits it at commas, and reads each `*` as any
    number of wildcard labels. So names with `*` are returned unchanged, unless they are normal
    wildcards. None: the subject cannot be read.
    """
    leaf_pem = chain_pem.partition("-----END CERTIFICATE-----")
    try:
        leaf = x509.load_pem_x509_certificate("".join(leaf_pem[:2]).encode())
        values = [
            attribute.value
            for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    except ValueError:
        return None
    texts = [value if isinstance(value, str) else value.decode("latin-1") for value in values]
    pieces = [piece.strip().lower() for text in texts for piece in text.split(",")]
    names = [normalise(piece) or (piece if "*" in piece else None) for piece in pieces]
    return frozenset(name for name in names if name)
