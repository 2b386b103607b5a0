"""Small changes to certificates that are not signed yet."""

from collections.abc import Sequence

from cryptography import x509

from ..corpus.authority import Draft, extension
from ..corpus.der import oid


def without(draft: Draft, dotted: str) -> Draft:
    """`draft` without its extension `dotted`."""
    kept = tuple(one for one in draft.extensions if oid(dotted) not in one[: len(oid(dotted)) + 6])
    return draft.but(extensions=kept)


def with_extension(draft: Draft, dotted: str, *added: bytes) -> Draft:
    """`draft` with `added` in place of its extension `dotted`, at the end if it had none."""
    return without(draft, dotted).but(extensions=(*without(draft, dotted).extensions, *added))


def name_constraints(
    permitted: Sequence[x509.GeneralName] = (),
    excluded: Sequence[x509.GeneralName] = (),
    *,
    critical: bool = True,
) -> bytes:
    """nameConstraints with these subtrees."""
    return extension(
        x509.NameConstraints(list(permitted) or None, list(excluded) or None), critical
    )
