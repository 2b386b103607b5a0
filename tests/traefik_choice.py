"""Which certificates Traefik 3.7 may serve for a name, as pkg/tls/certificate_store.go chooses."""

from typing import Any

from cryptography import x509

_NAMES = (x509.DNSName, x509.IPAddress)


def may_serve(configuration: dict[str, Any], hostname: str) -> set[x509.Certificate]:
    """Of certificates that have the same name, Traefik takes any."""
    matched: dict[str, set[x509.Certificate]] = {}
    patterns = _patterns(hostname)
    for pair in configuration["tls"]["certificates"]:
        leaf = x509.load_pem_x509_certificates(pair["certFile"].encode())[0]
        for name in _names(leaf):
            if name == hostname or name.rstrip(".") in patterns:
                matched.setdefault(name, set()).add(leaf)
    return matched[max(matched)] if matched else set()


def is_placeholder(leaf: x509.Certificate) -> bool:
    """Whether the service made it, for a name that must not be served otherwise."""
    return leaf.subject == leaf.issuer == x509.Name([])


def _names(leaf: x509.Certificate) -> list[str]:
    common = [
        str(one.value) for one in leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    others = [str(name) for kind in _NAMES for name in found.get_values_for_type(kind)]
    return ",".join([*common[-1:], *others]).lower().split(",")


def _patterns(hostname: str) -> set[str]:
    labels = hostname.split(".")
    return {".".join(["*"] * (n + 1) + labels[n + 1 :]) for n in range(len(labels))}
