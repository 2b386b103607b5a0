"""Whether a TLS server can serve a certificate with its private key: OpenSSL is asked."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile

from OpenSSL import SSL, crypto

from ..errors import Finding
from .chain.trust_store import Roots
from .keys.cost_limits import NEW_KEY, unusable
from .keys.public_keys import EXPLICIT_CURVE, PrivateKey, key_algorithm
from .text import shown
from .x509.certificate import Certificate

# As Debian's and Red Hat's builds have it. Set here, because the level of another build may differ.
_CIPHERS = b"DEFAULT:@SECLEVEL=2"
_MOST_REMEMBERED = 64
_RSASSA_PSS = "1.2.840.113549.1.1.10"
_Authorities = tuple[bytes, ...]

_ASK_FOR_ANOTHER = "Have it issued again for a key of its own, RSA-2048 or ECDSA P-256."
# What OpenSSL says: what that means, and what to do.
_REASONS = {
    "ee key too small": ("its key is too small", NEW_KEY),
    "ca key too small": (
        "an intermediate has a key that is too small",
        "Have your certificate issued by a CA with a stronger key.",
    ),
    "ca md too weak": (
        "it, or an intermediate, is signed with a hash that is too weak",
        "Have it issued again by a CA that signs with SHA-256 or better.",
    ),
    "key type mismatch": (
        "the private key is of another type than the certificate's",
        _ASK_FOR_ANOTHER,
    ),
    "key values mismatch": (
        "the private key is another certificate's",
        "Send the private key that belongs to this certificate.",
    ),
    "no shared cipher": (
        "servers and clients have no cipher in common for its key",
        _ASK_FOR_ANOTHER,
    ),
    "explicit curve": (
        "an elliptic curve is written out in place of its name, which clients refuse",
        _ASK_FOR_ANOTHER,
    ),
    "no suitable signature algorithm": (
        "servers and clients have no signature algorithm in common for its key",
        _ASK_FOR_ANOTHER,
    ),
}


def needed_of(served: Sequence[Certificate], roots: Roots) -> list[Certificate]:
    """The certificates of a served chain, leaf first, that clients need.

    A root that another root signed is served for clients that do not know it yet. All others
    ignore it, so the chain stays good when that signature expires.
    """
    return [served[0], *takewhile(lambda one: not _is_root(one, roots), served[1:])]


def _is_root(one: Certificate, roots: Roots) -> bool:
    return any(root.spki == one.spki for root in roots.named(one.subject))


def check_servable(served: Sequence[Certificate], key: PrivateKey | None) -> tuple[Finding, ...]:
    """`not_servable` if a server cannot load the chain `served`, leaf first, with its `key`, or if
    its handshakes fail. Never raises.

    Without a key (it was refused for what it is or costs), only the certificates are loaded. For a
    certificate that is for RSASSA-PSS alone, `key_invalid` says why.
    """
    leaf, *authorities = served
    try:
        fault = _fault(leaf, tuple(one.der for one in authorities), key)
        # OpenSSL loads a curve that it knows by its numbers. Clients refuse it.
        if any(EXPLICIT_CURVE in one.spki for one in served):
            fault = "fail at handshakes with it", "explicit curve"
    except MemoryError:
        raise
    except Exception:  # whatever the library raises, it was the certificate's doing
        fault = "cannot load it", "unsupported"
    if fault is None:
        return ()
    step, reason = fault
    what, hint = _REASONS.get(reason, (f"OpenSSL says «{shown(reason)}»", _ASK_FOR_ANOTHER))
    found = Finding("not_servable", leaf.field, f"TLS servers {step}: {what}.", hint)
    is_pss = leaf.key_oid == _RSASSA_PSS
    return (unusable("RSASSA-PSS", leaf.field), found) if is_pss else (found,)


def _fault(
    leaf: Certificate, authorities: _Authorities, key: PrivateKey | None
) -> tuple[str, str] | None:
    """The step that a server fails at, and OpenSSL's reason; None if it fails at none."""
    try:
        context = _context(authorities)
        server = _loaded(context, leaf, key)
    except (SSL.Error, crypto.Error) as error:
        return "cannot load it", _reason(error)
    kind = _kind(leaf)
    if key is None or kind in context.passed:
        return None
    # Some certificates are good for TLS 1.3 only.
    if _refusal(server, _HELLO_TLS_1_2):
        reason = _refusal(_loaded(context, leaf, key), _HELLO)
        if reason:
            return "fail at handshakes with it", reason
    if kind:
        context.passed.add(kind)
    return None


def _loaded(context: "_Context", leaf: Certificate, key: PrivateKey | None) -> SSL.Connection:
    """A server with its certificate and key. Raises SSL.Error, crypto.Error."""
    server = SSL.Connection(context)
    server.use_certificate(_load(leaf.der))
    if key is not None:
        # OpenSSL compares the key with the certificate.
        server.use_privatekey(key)
    return server


def _kind(leaf: Certificate) -> tuple[str, bool] | None:
    """The facts by which handshakes of certificates with the same chain differ: the algorithm
    and size of the key, and whether it may sign. None if the key is written in an unusual way."""
    if leaf.public_key is None or leaf.spki != leaf.key_spki:
        return None
    usage = leaf.key_usage
    return key_algorithm(leaf.public_key), usage is None or usage.digital_signature


def _refusal(server: SSL.Connection, hello: bytes) -> str | None:
    """None if `server` answers a client's first message; else OpenSSL's reason.

    The answer has the certificates, and a signature made with the key: all that could fail because
    of them. The client's part would cost twice as much, and say nothing more.
    """
    server.set_accept_state()
    server.bio_write(hello)
    try:
        server.do_handshake()
    except SSL.WantReadError:
        return None
    except SSL.Error as error:
        return _reason(error)
    return None


class _Context(SSL.Context):
    """A server's settings with one chain, and the kinds of certificates whose handshakes passed.

    Those are not tried again: a handshake costs as much as half of all other checks.
    """

    def __init__(self, authorities: _Authorities) -> None:
        super().__init__(SSL.TLS_METHOD)
        self.passed: set[tuple[str, bool]] = set()
        self.set_cipher_list(_CIPHERS)
        self.set_options(SSL.OP_NO_TICKET)
        self.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        for one in authorities:
            self.add_extra_chain_cert(_load(one))


# Intermediates come again with other leaves.
_context = lru_cache(maxsize=_MOST_REMEMBERED)(_Context)


def _hello(newest: int) -> bytes:
    """The first message of a client that takes TLS up to the version `newest`."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(_CIPHERS)
    context.set_max_proto_version(newest)
    client = SSL.Connection(context)
    client.set_connect_state()
    try:
        client.do_handshake()
    except SSL.WantReadError:
        return client.bio_read(2**16)
    raise AssertionError("A client waits for the answer to its first message.")


def _load(der: bytes) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_ASN1, der)


def _reason(error: SSL.Error | crypto.Error) -> str:
    """The last thing that OpenSSL said."""
    queue = error.args[0] if error.args else ()
    return str(queue[-1][-1]) if queue else "unknown"


# Made before the sandbox forks. The first costs a server half of what TLS 1.3 does.
_HELLO_TLS_1_2 = _hello(SSL.TLS1_2_VERSION)
_HELLO = _hello(SSL.TLS1_3_VERSION)
_context(())
