"""Finds the issuers of a certificate among the certificates that were read."""

from collections.abc import Iterable

from ...pki.x509.certificate import Certificate

# No real chain is longer.
_LONGEST_CHAIN = 10


class Issuers:
    """The authorities' certificates among those that were found."""

    def __init__(self, certificates: Iterable[Certificate]) -> None:
        self._by_subject: dict[bytes, list[Certificate]] = {}
        known = set()
        for one in certificates:
            if one.is_ca and one.der not in known:
                known.add(one.der)
                self._by_subject.setdefault(one.subject, []).append(one)

    def chain(self, leaf: Certificate) -> tuple[Certificate, ...]:
        """All that issued `leaf`, and what issued those, the nearest first.

        There may be several ways up where authorities have signed each other; all are in it.
        """
        chain: list[Certificate] = []
        known = {leaf.der}
        waiting = [leaf]
        while waiting and len(chain) < _LONGEST_CHAIN:
            issued = waiting.pop(0)
            for issuer in self._by_subject.get(issued.issuer, []):
                # A name proves nothing: authorities renew their keys under the same name.
                if issuer.der not in known and issued.is_signed_by(issuer):
                    known.add(issuer.der)
                    chain.append(issuer)
                    waiting.append(issuer)
        return tuple(chain)
