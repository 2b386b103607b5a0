"""A path from a leaf toward a root, and its faults."""

from dataclasses import dataclass

from ..submission import Trust
from ..x509.certificate import Certificate

# Limit of intermediates in a path. Real chains have at most three; Firefox follows six.
MOST_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Path:
    """A path: `certificates` from the leaf upward, each signed by the next, without the root.

    `faults` say why clients reject the path. They are empty for an incomplete path if its issuer is
    missing, or if findings with other codes give the reason. `root` is None if the path reaches
    none or has `faults`. `is_missing`: another certificate with the issuer's name might continue
    the path. `mismatch`: a certificate and its issuer with a valid signature but different key
    identifiers. `is_rooted`: the path ends in a root, whether clients accept it or not.
    """

    certificates: tuple[Certificate, ...]
    trust: Trust
    root: Certificate | None = None
    faults: tuple[str, ...] = ()
    is_missing: bool = False
    mismatch: tuple[Certificate, Certificate] | None = None
    is_rooted: bool = False
