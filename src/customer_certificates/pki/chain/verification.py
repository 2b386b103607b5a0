"""Certificate paths, built and verified by OpenSSL.

Only this module and `servability` know pyOpenSSL.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from OpenSSL import crypto
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags

_MOST_REMEMBERED_OCTETS = 4096

# X509_V_FLAG_NO_CHECK_TIME of <openssl/x509_vfy.h>, for which pyOpenSSL has no name.
_NO_CHECK_TIME = 0x200000

# The last number is ours: OpenSSL cannot load the certificate.
UNREADABLE = -1

# X509_V_ERR_… of <openssl/x509_vfy.h>.
BAD_SIGNATURE = frozenset({4, 6, 7})
NO_ISSUER = frozenset({2, 18, 19, 20, 21})
CRITICAL_EXTENSION = 34
POLICY_REQUIRED = 43
# Addresses and numbers of autonomous systems (RFC 3779), compared only if the leaf has some.
RESOURCES = 46
NAME_CONSTRAINTS = frozenset({47, 48, 49, 51, 52, 53})

# Around a name, the smallest certificate: OpenSSL hashes names of certificates only.
_BEFORE_NAME = bytes.fromhex("020101 300506032b6570")
_VALIDITY = b"\x30\x1e" + b"\x17\x0d000101000000Z" * 2
_AFTER_NAME = bytes.fromhex("302a 300506032b6570 032100") + bytes(32)
_SIGNATURE = bytes.fromhex("300506032b6570 034100") + bytes(64)


class Fault(NamedTuple):
    """The first reason for which OpenSSL refuses a path.

    `number` is X509_V_ERR_… or UNREADABLE; `depth` the place of the certificate to blame, the leaf
    being 0.
    """

    number: int
    depth: int


class Anchors:
    """Certificates that paths may end at. They are loaded once, the others with each path."""

    def __init__(
        self,
        certificates: Sequence[bytes],
        *,
        partial: bool = False,
        check_self_signature: bool = False,
        check_policies: bool = False,
    ) -> None:
        """`certificates` are DER; those that OpenSSL cannot load are left out.

        `partial`: they need not be self-signed. `check_self_signature`: the signature of a
        self-signed one must hold, too. `check_policies`: a policy that an authority requires must
        be there, as Chromium asks.
        """
        self._given = frozenset(certificates)
        self._certificates = [one for der in certificates if (one := _load(der))]
        self._flags = X509StoreFlags.PARTIAL_CHAIN * partial
        self._flags |= X509StoreFlags.CHECK_SS_SIGNATURE * check_self_signature
        self._flags |= X509StoreFlags.POLICY_CHECK * check_policies
        self._stores: dict[int, X509Store] = {}

    def path(
        self, leaf: bytes, untrusted: Sequence[bytes], *, at: datetime
    ) -> tuple[bytes, ...] | None:
        """The path from `leaf` through `untrusted` to an anchor, both included, all DER.

        None if OpenSSL refuses it at the time `at`, or writes a certificate of it in another way
        than it was given.
        """
        context = self._context(leaf, untrusted, at, ignore_critical=False)
        try:
            chain = context.get_verified_chain() if context else []
        except X509StoreContextError:
            return None
        ders = tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in chain)
        # OpenSSL writes the signature algorithm anew, and cleans up its parameters.
        is_as_given = self._given.union(untrusted).issuperset(ders[1:])
        return ders if ders and is_as_given else None

    def fault(
        self,
        leaf: bytes,
        untrusted: Sequence[bytes] = (),
        *,
        at: datetime | None = None,
        ignore_critical: bool = False,
    ) -> Fault | None:
        """Why OpenSSL refuses every path from `leaf` through `untrusted`; None if it accepts one.

        Dates are compared with `at`, and ignored without it. OpenSSL checks neither the purpose
        nor hostnames nor the strength of keys and digests here.
        """
        context = self._context(leaf, untrusted, at, ignore_critical=ignore_critical)
        if context is None:
            return Fault(UNREADABLE, 0)
        try:
            context.verify_certificate()
        except X509StoreContextError as error:
            number, depth, _ = error.errors
            return Fault(number, depth)
        return None

    def _context(
        self, leaf: bytes, untrusted: Sequence[bytes], at: datetime | None, *, ignore_critical: bool
    ) -> X509StoreContext | None:
        loaded = _load(leaf)
        if loaded is None:
            return None
        store = self._store(at, ignore_critical)
        return X509StoreContext(store, loaded, [one for der in untrusted if (one := _load(der))])

    def _store(self, at: datetime | None, ignore_critical: bool) -> X509Store:
        """Neither flags nor the time of a store can be changed once they are set."""
        flags = self._flags | X509StoreFlags.IGNORE_CRITICAL * ignore_critical
        if at is not None:
            store = self._new_store(flags)
            store.set_time(at)
            return store
        if flags not in self._stores:
            self._stores[flags] = self._new_store(flags | _NO_CHECK_TIME)
        return self._stores[flags]

    def _new_store(self, flags: int) -> X509Store:
        store = X509Store()
        store.set_flags(flags)
        for one in self._certificates:
            store.add_cert(one)
        return store


def name_hash(name: bytes) -> str:
    """OpenSSL's hash of `name` (DER), the same for names that RFC 5280, 7.1, calls equal.

    Names that OpenSSL cannot read are equal to themselves only.
    """
    hashing = _name_hash if len(name) <= _MOST_REMEMBERED_OCTETS else _name_hash.__wrapped__
    return hashing(name)


def subject_hash(der: bytes) -> str | None:
    """As `name_hash`, of the subject of the certificate `der`; None if OpenSSL cannot load it."""
    loaded = _load(der)
    return f"{loaded.subject_name_hash():08x}" if loaded else None


def is_self_signed(der: bytes) -> bool:
    """Whether the certificate `der` was signed with its own key."""
    fault = Anchors([der], check_self_signature=True).fault(der, ignore_critical=True)
    return fault is None or fault.number not in BAD_SIGNATURE | NO_ISSUER | {UNREADABLE}


def without_key_identifier(der: bytes) -> bytes:
    """The certificate `der` with another number for its authorityKeyIdentifier, unsigned.

    OpenSSL then takes any certificate of the issuer's name for its issuer, whatever key identifier,
    issuer or serial number the extension has.
    """
    return der.replace(b"\x06\x03\x55\x1d\x23", b"\x06\x03\x55\x1d\x7e")


@lru_cache(maxsize=1024)
def _name_hash(name: bytes) -> str:
    fields = _BEFORE_NAME + name + _VALIDITY + name + _AFTER_NAME
    made = _load_once(_sequence(_sequence(fields) + _SIGNATURE))
    return name.hex() if made is None else f"{made.subject_name_hash():08x}"


def _sequence(content: bytes) -> bytes:
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return b"\x30" + (bytes([0x80 | len(octets)]) + octets if size > 0x7F else octets) + content


def _load(der: bytes) -> X509 | None:
    """Authorities' certificates come again with every leaf. A large one is not worth the memory."""
    return _load_kept(der) if len(der) <= _MOST_REMEMBERED_OCTETS else _load_once(der)


def _load_once(der: bytes) -> X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        return None


_load_kept = lru_cache(maxsize=512)(_load_once)
