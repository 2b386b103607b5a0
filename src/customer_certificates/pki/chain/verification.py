"""Builds and verifies certificate paths with OpenSSL.

Only this module and `servability` use pyOpenSSL.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from OpenSSL import crypto
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags

from ..asn1.ber import SEQUENCE, encode

_MOST_REMEMBERED_OCTETS = 4096

# X509_V_FLAG_NO_CHECK_TIME of <openssl/x509_vfy.h>, for which pyOpenSSL has no name.
_NO_CHECK_TIME = 0x200000

# The last number is this module's own: OpenSSL cannot load the certificate.
UNREADABLE = -1

# X509_V_ERR_… of <openssl/x509_vfy.h>.
BAD_SIGNATURE = frozenset({4, 6, 7})
NO_ISSUER = frozenset({2, 18, 19, 20, 21})
CRITICAL_EXTENSION = 34
POLICY_REQUIRED = 43
# IP addresses and AS numbers (RFC 3779), compared only if the leaf has any.
RESOURCES = 46
NAME_CONSTRAINTS = frozenset({47, 48, 49, 51, 52, 53})

# The smallest certificate around a name: OpenSSL hashes only names of certificates.
_BEFORE_NAME = bytes.fromhex("020101 300506032b6570")
_VALIDITY = b"\x30\x1e" + b"\x17\x0d000101000000Z" * 2
_AFTER_NAME = bytes.fromhex("302a 300506032b6570 032100") + bytes(32)
_SIGNATURE = bytes.fromhex("300506032b6570 034100") + bytes(64)


class Fault(NamedTuple):
    """The first reason why OpenSSL rejects a path.

    `number` is X509_V_ERR_… or UNREADABLE. `depth` is the position of the certificate at fault; the
    leaf has 0.
    """

    number: int
    depth: int


class Anchors:
    """Trusted certificates at which paths may end, loaded once for all paths."""

    def __init__(
        self,
        certificates: Sequence[bytes],
        *,
        partial: bool = False,
        check_self_signature: bool = False,
        check_policies: bool = False,
    ) -> None:
        """Loads `certificates` (DER), and skips those that OpenSSL cannot load.

        `partial`: they need not be self-signed. `check_self_signature`: the signature of a
        self-signed one must be valid too. `check_policies`: policies that a CA requires must be
        present, as in Chromium.
        """
        self._given = frozenset(certificates)
        self._certificates = [certificate for der in certificates if (certificate := _load(der))]
        self._flags = X509StoreFlags.PARTIAL_CHAIN * partial
        self._flags |= X509StoreFlags.CHECK_SS_SIGNATURE * check_self_signature
        self._flags |= X509StoreFlags.POLICY_CHECK * check_policies
        self._stores: dict[int, X509Store] = {}

    def path(
        self, leaf: bytes, untrusted: Sequence[bytes], *, at: datetime
    ) -> tuple[bytes, ...] | None:
        """Returns the path from `leaf` through `untrusted` to an anchor, including both, all DER.

        None if OpenSSL rejects it at the time `at`, or encodes a certificate of the path
        differently than its input.
        """
        context = self._context(leaf, untrusted, at, ignore_critical=False)
        try:
            chain = context.get_verified_chain() if context else []
        except X509StoreContextError:
            return None
        ders = tuple(
            crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in chain
        )
        # OpenSSL encodes the signature algorithm again, and cleans up its parameters.
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
        """Returns why OpenSSL rejects every path from `leaf` through `untrusted`; None if valid.

        Dates are compared with `at`, and ignored without it. OpenSSL does not check the purpose,
        hostnames or the strength of keys and digests here.
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
        return X509StoreContext(
            store, loaded, [certificate for der in untrusted if (certificate := _load(der))]
        )

    def _store(self, at: datetime | None, ignore_critical: bool) -> X509Store:
        """Returns a new store: flags and time of a store cannot be changed."""
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
        for certificate in self._certificates:
            store.add_cert(certificate)
        return store


def name_hash(name: bytes) -> str:
    """Returns OpenSSL's hash of `name` (DER), the same for equal names (RFC 5280, 7.1).

    Names that OpenSSL cannot read equal only themselves.
    """
    hashing = _name_hash if len(name) <= _MOST_REMEMBERED_OCTETS else _name_hash.__wrapped__
    return hashing(name)


def subject_hash(der: bytes) -> str | None:
    """Returns the `name_hash` of the subject of `der`; None if OpenSSL cannot load it."""
    loaded = _load(der)
    return f"{loaded.subject_name_hash():08x}" if loaded else None


def is_self_signed(der: bytes) -> bool:
    """Returns whether the certificate `der` was signed with its own key."""
    fault = Anchors([der], check_self_signature=True).fault(der, ignore_critical=True)
    return fault is None or fault.number not in BAD_SIGNATURE | NO_ISSUER | {UNREADABLE}


def without_key_identifier(der: bytes) -> bytes:
    """Returns the certificate `der` with its authorityKeyIdentifier disabled, unsigned.

    The extension gets another OID. OpenSSL then accepts any certificate with the issuer's name as
    its issuer, whatever key identifier, issuer or serial number the extension has.
    """
    return der.replace(b"\x06\x03\x55\x1d\x23", b"\x06\x03\x55\x1d\x7e")


@lru_cache(maxsize=1024)
def _name_hash(name: bytes) -> str:
    fields = encode(SEQUENCE, _BEFORE_NAME, name, _VALIDITY, name, _AFTER_NAME)
    made = _load_once(encode(SEQUENCE, fields, _SIGNATURE))
    return name.hex() if made is None else f"{made.subject_name_hash():08x}"


def _load(der: bytes) -> X509 | None:
    """Loads a certificate, from a cache if small: CA certificates come with many leaves."""
    return _load_kept(der) if len(der) <= _MOST_REMEMBERED_OCTETS else _load_once(der)


def _load_once(der: bytes) -> X509 | None:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error:
        return None


_load_kept = lru_cache(maxsize=512)(_load_once)
