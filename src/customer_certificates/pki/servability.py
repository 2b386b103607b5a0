"""Whether a TLS server can serve a certificate."""

from collections.abc import Sequence
from itertools import takewhile

from .certificates import Certificate
from .roots import Roots


def needed_of(served: Sequence[Certificate], roots: Roots) -> list[Certificate]:
    """The certificates of a served chain, leaf first, that clients need.

    A root that another root signed is served for clients that do not know it yet. All others
    ignore it, so the chain stays good when that signature expires.
    """
    return [
        served[0],
        *takewhile(lambda one: not _is_root(one, roots), served[1:]),
    ]


def _is_root(one: Certificate, roots: Roots) -> bool:
    return any(root.spki == one.spki for root in roots.named(one.subject))
