"""Tests with OpenSSL whether a TLS server can serve a certificate and key."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from ssl import PEM_cert_to_DER_cert

from OpenSSL import SSL, crypto

from ..errors import Finding
from .chain.trust_store import Roots
from .keys.cost_limits import NEW_KEY, unusable
from .keys.public_keys import EXPLICIT_CURVE, PrivateKey, key_algorithm
from .placeholders import KEY, placeholder
from .submission import Fault
from .text import shown
from .x509.certificate import Certificate

# The defaults of Debian and Red Hat. Set explicitly, because other builds may differ.
_CIPHERS = b"DEFAULT:@SECLEVEL=2"
_MOST_REMEMBERED = 64
_RSASSA_PSS = "1.2.840.113549.1.1.10"
_LOAD, _HANDSHAKE = "cannot load it", "fail at handshakes with it"
# The library raised another exception, because of the certificate.
_UNSUPPORTED = _LOAD, "unsupported"
_Kind = tuple[str, bool]
# The kinds of leaves whose handshakes passed. They are not tried again: a handshake costs half as
# much as all other checks.
_passed = set[_Kind]()

_ASK_FOR_ANOTHER = "Have it reissued for a new key, RSA-2048 or ECDSA P-256."
# OpenSSL's reason: its meaning, and the hint.
_REASONS = {
    "ee key too small": ("its key is too small", NEW_KEY),
    "ca key too small": (
        "an intermediate has a key that is too small",
        "Have your certificate issued by a CA with a stronger key.",
    ),
    "ca md too weak": (
        "it or an intermediate is signed with a weak hash",
        "Have it reissued by a CA that signs with SHA-256 or better.",
    ),
    "key type mismatch": (
        "the private key and the certificate have different key types",
        _ASK_FOR_ANOTHER,
    ),
    "key values mismatch": (
        "the private key belongs to another certificate",
        "Send the private key that belongs to this certificate.",
    ),
    "no shared cipher": ("servers and clients have no common cipher for its key", _ASK_FOR_ANOTHER),
    "explicit curve": (
        "the key has explicit curve parameters instead of a named curve, which clients reject",
        _ASK_FOR_ANOTHER,
    ),
    "no suitable signature algorithm": (
        "servers and clients have no common signature algorithm for its key",
        _ASK_FOR_ANOTHER,
    ),
}


def needed_of(served: Sequence[Certificate], roots: Roots) -> list[Certificate]:
    """Returns the certificates of a served chain, leaf first, that clients need.

    A root signed by another root is served for clients that do not know it yet. All others ignore
    it, so the chain stays valid when that signature expires.
    """
    return [served[0], *takewhile(lambda certificate: not _is_root(certificate, roots), served[1:])]


def _is_root(certificate: Certificate, roots: Roots) -> bool:
    return any(root.spki == certificate.spki for root in roots.named(certificate.subject))


def check_servable(
    served: Sequence[Certificate], own: Fault | None, *, has_key: bool
) -> tuple[Finding, ...]:
    """Returns `not_servable` if a server cannot load the chain, or handshakes fail. Never raises.

    `served` is the chain, leaf first, and `own` the `leaf_fault`. Without a key (it was rejected),
    handshakes are not considered. If the certificate is for RSASSA-PSS only, `key_invalid` says so
    too.
    """
    leaf, *authorities = served
    fault = own
    above = _authorities_fault(*(authority.der for authority in authorities))
    # A server loads the authorities before the leaf. In a handshake, it checks them after it.
    if above and (above[0] == _LOAD or (has_key and not own)):
        fault = above
    # OpenSSL recognizes a named curve by its parameters. Clients reject explicit parameters.
    if fault != _UNSUPPORTED and any(EXPLICIT_CURVE in certificate.spki for certificate in served):
        fault = _HANDSHAKE, "explicit curve"
    if fault is None:
        return ()
    step, reason = fault
    what, hint = _REASONS.get(reason, (f"OpenSSL reports «{shown(reason)}»", _ASK_FOR_ANOTHER))
    found = Finding("not_servable", leaf.field, f"TLS servers {step}: {what}.", hint)
    is_pss = leaf.key_oid == _RSASSA_PSS
    return (unusable("RSASSA-PSS", leaf.field), found) if is_pss else (found,)


def leaf_fault(leaf: Certificate, key: PrivateKey | None) -> Fault | None:
    """Returns why a server cannot serve `leaf` alone. Never raises.

    Without a key, the leaf is only loaded.
    """
    return _fault((), leaf.der, key, _kind(leaf))


# The same intermediates come with many leaves.
@lru_cache(maxsize=_MOST_REMEMBERED)
def _authorities_fault(*authorities: bytes) -> Fault | None:
    """Returns why a server cannot serve `authorities` (DER) above any leaf. Never raises."""
    return _fault(authorities, *_PLACEHOLDER, None) if authorities else None


def _fault(
    authorities: Sequence[bytes], leaf: bytes, key: PrivateKey | None, kind: _Kind | None
) -> Fault | None:
    try:
        context = _context(authorities) if authorities else _ALONE
        server = _loaded(context, leaf, key)
        # Some certificates work with TLS 1.3 only.
        if key is None or kind in _passed or not _refusal(server, _HELLO_TLS_1_2):
            reason = None
        else:
            reason = _refusal(_loaded(context, leaf, key), _HELLO)
    except (SSL.Error, crypto.Error) as error:
        return _LOAD, _reason(error)
    except MemoryError:
        raise
    except Exception:  # any exception of the library is caused by the certificate
        return _UNSUPPORTED
    if reason:
        return _HANDSHAKE, reason
    if key and kind:
        _passed.add(kind)
    return None


def _loaded(context: SSL.Context, leaf: bytes, key: PrivateKey | None) -> SSL.Connection:
    """Returns a server with its certificate and key. Raises SSL.Error, crypto.Error."""
    server = SSL.Connection(context)
    server.use_certificate(_load(leaf))
    if key is not None:
        # OpenSSL compares the key with the certificate.
        server.use_privatekey(key)
    return server


def _kind(leaf: Certificate) -> _Kind | None:
    """Returns what decides a handshake of a leaf alone.

    These are the algorithm and size of the key, and whether it may sign. None if the key is encoded
    in an unusual way.
    """
    if leaf.public_key is None or leaf.spki != leaf.key_spki:
        return None
    usage = leaf.extensions.key_usage
    return key_algorithm(leaf.public_key), usage is None or usage.digital_signature


def _refusal(server: SSL.Connection, hello: bytes) -> str | None:
    """Returns None if `server` answers a ClientHello, otherwise OpenSSL's reason.

    The answer has the certificates and a signature made with the key, so it covers everything that
    can fail because of them. Running the client too would double the cost and find nothing more.
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


def _context(authorities: Sequence[bytes]) -> SSL.Context:
    """Returns a server context with these above its leaf."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    for authority in authorities:
        context.add_extra_chain_cert(_load(authority))
    return context


def _hello(newest: int) -> bytes:
    """Returns the ClientHello of a client that supports TLS up to the version `newest`."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(_CIPHERS)
    context.set_max_proto_version(newest)
    client = SSL.Connection(context)
    client.set_connect_state()
    try:
        client.do_handshake()
    except SSL.WantReadError:
        return client.bio_read(2**16)
    raise AssertionError("A TLS client waits for the answer to its ClientHello.")


def _load(der: bytes) -> crypto.X509:
    return crypto.load_certificate(crypto.FILETYPE_ASN1, der)


def _reason(error: SSL.Error | crypto.Error) -> str:
    """Returns the last error that OpenSSL reported."""
    queue = error.args[0] if error.args else ()
    return str(queue[-1][-1]) if queue else "unknown"


# Created before the sandbox forks. TLS 1.2 costs a server half as much as TLS 1.3.
_HELLO_TLS_1_2 = _hello(SSL.TLS1_2_VERSION)
_HELLO = _hello(SSL.TLS1_3_VERSION)
_ALONE = _context(())
# Its handshakes fail only because of the authorities above it.
_PLACEHOLDER = PEM_cert_to_DER_cert(placeholder("localhost")[0]), KEY
