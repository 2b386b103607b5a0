"""A path from a leaf towards a root, and what is wrong with it."""

from dataclasses import dataclass

from ..submission import Trust
from ..x509.certificate import Certificate

# Intermediates in a path. Honest chains have three at most; Firefox follows six.
MOST_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Path:
    """`certificates` go from the leaf upwards, each signed by the next, the root left out.

    `faults` say why clients refuse the path. They are empty for an incomplete path if its issuer is
    missing, or if findings of other codes say why. `root` is None if none was reached, or there are
    `faults`. `is_missing`: another certificate of the issuer's name might continue the path.
    `mismatch`: a certificate and its issuer, whose signature holds while the key identifiers
    differ. `is_rooted`: the path leads to a root, whether clients accept it or not.
    """

    certificates: tuple[Certificate, ...]
    trust: Trust
    root: Certificate | None = None
    faults: tuple[str, ...] = ()
    is_missing: bool = False
    mismatch: tuple[Certificate, Certificate] | None = None
    is_rooted: bool = False
