"""The publicly trusted root certificates."""

import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..asn1.extensions import NAME_CONSTRAINTS
from ..x509.certificate import Certificate, read
from .verification import Anchors, name_hash

_MOST_REMEMBERED = 256

# nameConstraints, and the IP addresses and AS numbers of RFC 3779.
_COMPARED_WITH_LEAVES = {NAME_CONSTRAINTS, "1.3.6.1.5.5.7.1.7", "1.3.6.1.5.5.7.1.8"}

_Key = tuple[bytes, bytes | None, tuple[str, ...]]


class _Upper(NamedTuple):
    """The upper part of a verified path. Its lowest CA can be used as an anchor."""

    anchor: Anchors
    fingerprints: tuple[str, ...]
    root: Certificate
    not_before: datetime
    not_after: datetime


class Roots:
    """Root certificates by name. Keep the object: it caches verified paths for later chains."""

    def __init__(
        self,
        certificates: Sequence[x509.Certificate],
        proving: Sequence[x509.Certificate] | None = None,
    ) -> None:
        """Trusts `certificates` whatever they contain, and skips unreadable ones.

        Those in `proving` prove hostnames (None: all do).
        """
        self._by_subject: dict[str, list[Certificate]] = {}
        self._roots: dict[bytes, Certificate] = {}
        for number, certificate in enumerate(certificates, 1):
            root = read(certificate.public_bytes(Encoding.DER), "roots", number)
            if isinstance(root, Certificate):
                self._by_subject.setdefault(name_hash(root.subject), []).append(root)
                self._roots[root.der] = root
        self._proving = (
            frozenset(self._roots)
            if proving is None
            else frozenset(certificate.public_bytes(Encoding.DER) for certificate in proving)
        )
        self._anchors = Anchors(list(self._roots))
        self._uppers: dict[_Key, _Upper] = {}

    @classmethod
    def from_pem(cls, pem: bytes, proving_pem: bytes | None = None) -> "Roots":
        """Returns the roots in `pem`.

        Those that are in `proving_pem` too prove hostnames (None: all do). Raises ValueError if
        there is no root, or one is malformed.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proving = None if proving_pem is None else x509.load_pem_x509_certificates(proving_pem)
            return cls(x509.load_pem_x509_certificates(pem), proving)

    def proves_hostnames(self, root: Certificate) -> bool:
        """Returns whether a certificate under `root` proves control of its hostnames."""
        return root.der in self._proving

    def named(self, subject: bytes) -> Sequence[Certificate]:
        """Returns the roots with the name `subject` (DER)."""
        return self._by_subject.get(name_hash(subject), ())

    def verify(
        self, leaf: Certificate, others: Sequence[Certificate], at: datetime
    ) -> tuple[Certificate, ...] | None:
        """Returns OpenSSL's path from `leaf` through `others` to a root, including both ends.

        None if OpenSSL rejects it at the time `at`.
        """
        key = (
            leaf.issuer,
            leaf.extensions.aki,
            tuple(certificate.fingerprint for certificate in others),
        )
        upper = self._uppers.get(key)
        # A CA issues many leaves. Its own signature need not be verified each time.
        if upper and upper.not_before <= at <= upper.not_after:
            if upper.anchor.fault(leaf.der, at=at):
                return None
            by_fingerprint = {certificate.fingerprint: certificate for certificate in others}
            return (leaf, *map(by_fingerprint.__getitem__, upper.fingerprints), upper.root)
        answer = self._anchors.path(leaf.der, [certificate.der for certificate in others], at=at)
        if answer is None:
            return None
        by_der = {certificate.der: certificate for certificate in others}
        above = [by_der.get(der) or self._roots[der] for der in answer[1:]]
        # Another chain need not contain an intermediate that is also a root.
        is_complete = all(certificate.der in by_der for certificate in above[:-1])
        if len(above) > 1 and is_complete and not any(map(_constrains_leaves, above)):
            self._remember(key, above)
        return (leaf, *above)

    def _remember(self, key: _Key, above: Sequence[Certificate]) -> None:
        if len(self._uppers) >= _MOST_REMEMBERED:
            self._uppers.clear()
        self._uppers[key] = _Upper(
            Anchors([above[0].der], partial=True),
            tuple(certificate.fingerprint for certificate in above[:-1]),
            above[-1],
            max(certificate.not_before for certificate in above),
            min(certificate.not_after for certificate in above),
        )


def _constrains_leaves(authority: Certificate) -> bool:
    """Returns whether an extension of `authority` restricts each leaf below it."""
    return not _COMPARED_WITH_LEAVES.isdisjoint(authority.extensions.raw)
