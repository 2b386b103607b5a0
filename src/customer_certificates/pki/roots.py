"""The roots that the public trusts, and whether a path leads to one of them."""

import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from .certificates import Certificate, read
from .wording import shown

MOST_DEPTH = 10
_MOST_REMEMBERED = 256

# What a leaf lacks is told by the checks. What an authority must have is looked at by `links`,
# which can say what is wrong; the library insists on basicConstraints.
_BUILDER = (
    PolicyBuilder()
    .max_chain_depth(MOST_DEPTH)
    .extension_policies(
        ca_policy=ExtensionPolicy.permit_all().require_present(
            x509.BasicConstraints, Criticality.AGNOSTIC, None
        ),
        ee_policy=ExtensionPolicy.permit_all(),
    )
)


class Verified(NamedTuple):
    """A path that a verifier accepts: it ends beneath `root`."""

    root: Certificate


class Refused(NamedTuple):
    """A path that a verifier refuses, and its reason."""

    reason: str


class _Upper(NamedTuple):
    """The upper part of a path that was verified: its lowest authority may be trusted itself."""

    builder: PolicyBuilder
    root: Certificate
    not_before: datetime
    not_after: datetime


class Roots:
    """Roots by their names. Made once: what it verified makes the next chains cheaper."""

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        """`certificates` are trusted whatever they contain; those that cannot be read are not."""
        self._by_subject: dict[bytes, list[Certificate]] = {}
        self._roots: dict[x509.Certificate, Certificate] = {}
        for number, certificate in enumerate(certificates, 1):
            root = read(certificate.public_bytes(Encoding.DER), "roots", number)
            if isinstance(root, Certificate):
                self._by_subject.setdefault(root.subject, []).append(root)
                self._roots[certificate] = root
        # Store takes no empty list.
        self._builder = _BUILDER.store(Store(list(self._roots))) if self._roots else None
        self._uppers: dict[tuple[str, ...], _Upper] = {}

    @classmethod
    def from_pem(cls, pem: bytes) -> "Roots":
        """The roots in `pem`. Raises ValueError where there is none, or what is there is broken."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cls(x509.load_pem_x509_certificates(pem))

    def named(self, subject: bytes) -> Sequence[Certificate]:
        """The roots of the name `subject` (DER)."""
        return self._by_subject.get(subject, ())

    def verify(self, path: Sequence[Certificate], at: datetime) -> Verified | Refused:
        """Whether `path`, leaf first and root left out, leads to a root at the time `at`.

        RFC 5280, 6.1, without what concerns the leaf's own purpose and names.
        """
        if self._builder is None:
            return Refused("no root is known")
        name = tuple(one.fingerprint for one in path[1:])
        upper = self._uppers.get(name)
        # Authorities issue many leaves: their own signatures need not be verified each time.
        if upper and upper.not_before <= at <= upper.not_after:
            answer = _verify(upper.builder, path[:1], at)
            if not isinstance(answer, Refused):
                return Verified(upper.root)
        answer = _verify(self._builder, path, at)
        if isinstance(answer, Refused):
            return answer
        root = self._roots[answer[-1]]
        authorities = [*path[1:], root]
        as_asked = answer[1:] == [x509.load_der_x509_certificate(one.der) for one in authorities]
        # Constraints on names concern each leaf anew.
        if name and as_asked and not any(one.has_name_constraints for one in authorities):
            self._remember(name, authorities)
        return Verified(root)

    def _remember(self, name: tuple[str, ...], authorities: Sequence[Certificate]) -> None:
        if len(self._uppers) >= _MOST_REMEMBERED:
            self._uppers.clear()
        self._uppers[name] = _Upper(
            _BUILDER.store(Store([x509.load_der_x509_certificate(authorities[0].der)])),
            authorities[-1],
            max(one.not_before for one in authorities),
            min(one.not_after for one in authorities),
        )


def verify_beneath(
    root: Certificate, path: Sequence[Certificate], at: datetime
) -> Verified | Refused:
    """Whether `path`, leaf first, leads to `root` at the time `at`, as `Roots.verify` has it."""
    try:
        builder = _BUILDER.store(Store([x509.load_der_x509_certificate(root.der)]))
    except ValueError:
        return Refused("the root cannot be read")
    answer = _verify(builder, path, at)
    return answer if isinstance(answer, Refused) else Verified(root)


def _verify(
    builder: PolicyBuilder, path: Sequence[Certificate], at: datetime
) -> list[x509.Certificate] | Refused:
    try:
        verifier = builder.time(at).build_client_verifier()
        loaded = [x509.load_der_x509_certificate(one.der) for one in path]
        return verifier.verify(loaded[0], loaded[1:]).chain
    except ValueError:
        return Refused("a certificate of it cannot be read")
    except VerificationError as error:
        return Refused(shown(str(error).removeprefix("validation failed: ")))
