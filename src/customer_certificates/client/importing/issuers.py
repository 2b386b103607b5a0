"""Finds the issuers of a certificate among the certificates that were read."""

from collections.abc import Iterable

from ...pki.x509.certificate import Certificate

# No real chain is longer.
_LONGEST_CHAIN = 10


class Issuers:
    """The CA certificates among the given certificates."""

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        self._by_subject: dict[bytes, list[Certificate]] = {}
        distinct = set()
        for certificate in certificates:
            if certificate.extensions.is_ca and certificate.der not in distinct:
                distinct.add(certificate.der)
                self._by_subject.setdefault(certificate.subject, []).append(certificate)

    def chain(self, leaf: Certificate) -> tuple[Certificate, ...]:
        """Returns the issuers of `leaf` and their issuers, the direct issuer first.

        If CAs are cross-signed, the result includes all paths.
        """
        chain: list[Certificate] = []
        visited = {leaf.der}
        waiting = [leaf]
        while waiting and len(chain) < _LONGEST_CHAIN:
            issued = waiting.pop(0)
            for issuer in self._by_subject.get(issued.issuer, []):
                # Verify the signature too, because CAs renew their keys under the same name.
                if issuer.der not in visited and issued.is_signed_by(issuer):
                    visited.add(issuer.der)
                    chain.append(issuer)
                    waiting.append(issuer)
        return tuple(chain)
