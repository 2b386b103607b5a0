"""PKCS#12 files: of new and old software, in DER and BER, incomplete, costly, damaged."""

import base64
from collections.abc import Iterator

from customer_certificates.pki.asn1 import ber
from customer_certificates.pki.submission import Submission

from .authority import WWW, intermediate, leaf, root
from .case import Case, Expected, error, info, key_pem, pem
from .der import NULL, integer, octets, oid, sequence
from .keys import ec_key, pkcs8, rsa_key, spki_of
from .sealed import (
    PASSPHRASE,
    Mac,
    Pbes2,
    Pkcs12Pbe,
    Scrypt,
    Sealing,
    certificate_bag,
    crl_bag,
    encrypted_key_bag,
    in_ber,
    key_bag,
    nested_bag,
    open_safe,
    pkcs12,
    sealed_safe,
    shrouded_key_bag,
)

FILE = "pkcs12"
INVALID = error("key_invalid", FILE)
COSTLY = error("key_too_costly", FILE)
WRONG = error("passphrase_wrong", "passphrase")


def cases() -> Iterator[Case]:
    yield from _readable()
    yield from _incomplete()
    yield from _rejected()
    yield from _other_data()


def case(
    name: str,
    made: str,
    file: bytes,
    *findings: Expected,
    passphrase: str | None = PASSPHRASE,
    read: bool = True,
) -> Case:
    """Returns a case whose file gives the leaf and the intermediate."""
    material = Submission("", "", b"", file, passphrase)
    return Case(f"pkcs12-{name}", made, material, findings=findings, key=read)


def _unreadable(
    name: str, made: str, file: bytes, *findings: Expected, passphrase: str | None = PASSPHRASE
) -> Case:
    """Returns a case whose file gives no key and no certificate."""
    found = case(name, made, file, *(findings or (INVALID,)), passphrase=passphrase, read=False)
    return found.but(trust="unreadable", hostnames=(), served=0)


def _chain() -> tuple[bytes, bytes]:
    return certificate_bag(leaf()), certificate_bag(intermediate().certificate)


def _leaf_key() -> bytes:
    return pkcs8(ec_key(WWW))


def _safes(
    certificates: Sealing, key: Sealing, passphrase: str | None = PASSPHRASE
) -> tuple[bytes, bytes]:
    """Returns the usual two safes: encrypted certificates, and a key encrypted separately."""
    return (
        sealed_safe(*_chain(), sealing=certificates, passphrase=passphrase),
        open_safe(shrouded_key_bag(_leaf_key(), key, passphrase)),
    )


def _readable() -> Iterator[Case]:
    usual = _safes(Pbes2(), Pbes2())
    yield case("modern", "A file of OpenSSL 3: PBES2, HMAC-SHA-256.", pkcs12(usual))
    yield case(
        "old",
        "A file of old software, but with 128-bit RC2: 3DES, HMAC-SHA-1.",
        pkcs12(_safes(Pkcs12Pbe("rc2-128"), Pkcs12Pbe()), Mac("sha1")),
    )
    yield case(
        "two-key-3des",
        "Two-key 3DES for certificates and key.",
        pkcs12(_safes(Pkcs12Pbe("3des-2"), Pkcs12Pbe("3des-2")), Mac("sha1")),
    )
    for cipher in ("rc4-40", "rc4-128"):
        rc4 = Pkcs12Pbe(cipher)
        safes = _safes(rc4, rc4)
        yield case(
            cipher, f"{cipher.upper()} for certificates and key.", pkcs12(safes, Mac("sha1"))
        )
        yield case(
            f"{cipher}-no-mac",
            f"{cipher.upper()} for certificates and key, no MAC.",
            pkcs12(safes, None),
        )
        mixed = _safes(Pkcs12Pbe("3des"), rc4)
        yield case(f"{cipher}-key", f"{cipher.upper()} for the key only.", pkcs12(mixed))
    for cipher in ("aes-128", "aes-192", "3des"):
        sealing = Pbes2(cipher=cipher)
        yield case(f"pbes2-{cipher}", f"PBES2 with {cipher}.", pkcs12(_safes(sealing, sealing)))
    for prf in ("sha1", "sha224", "sha384", "sha512"):
        sealing = Pbes2(prf=prf)
        yield case(f"pbes2-{prf}", f"PBES2 with {prf}.", pkcs12(_safes(sealing, sealing)))
    yield case("scrypt", "The key is encrypted with scrypt.", pkcs12(_safes(Pbes2(), Scrypt())))
    yield case("mac-sha512", "HMAC-SHA-512.", pkcs12(usual, Mac("sha512")))
    yield case("pbmac1", "PBMAC1 (RFC 9579).", pkcs12(usual, Mac(pbmac1=True)))
    yield case("no-mac", "Encrypted, no MAC.", pkcs12(usual, None))
    yield case("ber", "BER: indefinite lengths, segmented strings.", in_ber(pkcs12(usual)))
    yield case(
        "unicode",
        "The passphrase has umlauts, a Chinese character and an emoji.",
        pkcs12(_safes(Pkcs12Pbe("3des"), Pbes2(), "Pässwörd 鍵🔑"), passphrase="Pässwörd 鍵🔑"),
        passphrase="Pässwörd 鍵🔑",
    )
    for name, made_with in (("empty", ""), ("none", None)):
        yield case(
            f"passphrase-{name}",
            f"Encrypted with {'an empty passphrase' if made_with == '' else 'no passphrase'}.",
            pkcs12(_safes(Pkcs12Pbe("3des"), Pkcs12Pbe(), made_with), Mac("sha1"), made_with),
            passphrase=None,
        )
    opened = (open_safe(*_chain()), open_safe(key_bag(_leaf_key())))
    yield case("open", "Nothing encrypted, no MAC.", pkcs12(opened, None), passphrase=None)
    yield case("open-mac", "Nothing encrypted, with a MAC.", pkcs12(opened))
    yield case(
        "one-safe",
        "One encrypted safe, in which the key is encrypted again.",
        pkcs12((sealed_safe(*_chain(), shrouded_key_bag(_leaf_key(), Pbes2()), sealing=Pbes2()),)),
    )
    yield case(
        "nested",
        "Safes within safes.",
        pkcs12((open_safe(nested_bag(nested_bag(*_chain()), key_bag(_leaf_key()))),)),
    )
    yield case("crl", "An additional revocation list.", pkcs12((*usual, open_safe(crl_bag()))))
    yield case(
        "base64-twice",
        "Base64-encoded twice.",
        base64.b64encode(pkcs12(usual)),
        info("base64_twice", FILE),
    )
    authority, root_bag = (
        certificate_bag(intermediate().certificate),
        certificate_bag(root().certificate),
    )
    yield case(
        "with-root",
        "With its root.",
        pkcs12((open_safe(*_chain(), root_bag, key_bag(_leaf_key())),)),
        info("root_dropped", FILE),
    )
    yield case(
        "unordered",
        "The intermediate before the leaf.",
        pkcs12((open_safe(authority, certificate_bag(leaf()), key_bag(_leaf_key())),)),
        info("chain_unordered", FILE),
    )
    yield case(
        "twice",
        "Each certificate and the key twice.",
        pkcs12((open_safe(*_chain(), *_chain(), key_bag(_leaf_key()), key_bag(_leaf_key())),)),
        info("duplicate", FILE),
        info("duplicate", FILE),
    )
    rsa = rsa_key("2048")
    yield case(
        "rsa",
        "An RSA key and its certificate.",
        pkcs12(
            (
                open_safe(certificate_bag(leaf(spki=spki_of(rsa))), authority),
                open_safe(shrouded_key_bag(pkcs8(rsa), Pbes2())),
            )
        ),
    )


def _incomplete() -> Iterator[Case]:
    key, chain = open_safe(key_bag(_leaf_key())), open_safe(*_chain())
    yield case(
        "no-key", "Certificates without a key, as in a trust store.", pkcs12((chain,)), INVALID
    ).but(key=False)
    nothing = error("no_leaf", FILE)
    yield _unreadable(
        "no-certificate", "A key without a certificate.", pkcs12((key,)), nothing
    ).but(key=True)
    yield _unreadable("no-safe", "No safe.", pkcs12(()), INVALID, nothing)
    yield _unreadable(
        "authorities-alone",
        "Two CA certificates and a key.",
        pkcs12(
            (
                open_safe(
                    certificate_bag(intermediate().certificate),
                    certificate_bag(root().certificate),
                    key_bag(_leaf_key()),
                ),
            )
        ),
        nothing,
    ).but(key=True)
    alone = pkcs12((open_safe(certificate_bag(leaf()), key_bag(_leaf_key())),))
    for name, text, findings in (
        ("chain-beside", pem(intermediate().certificate), ()),
        (
            "chain-beside-with-key",
            pem(intermediate().certificate) + key_pem().decode(),
            (error("key_in_body", "chain"),),
        ),
    ):
        material = Submission("", text, b"", alone, PASSPHRASE)
        yield Case(
            f"pkcs12-{name}",
            "The intermediate in chain" + (", with a private key." if findings else "."),
            material,
            findings=findings,
        )
    yield case(
        "chain-missing",
        "Without the intermediate.",
        pkcs12((open_safe(certificate_bag(leaf()), key_bag(_leaf_key())),)),
        error("chain_incomplete", FILE),
    ).but(trust="incomplete", served=1)


def _rejected() -> Iterator[Case]:
    usual = _safes(Pbes2(), Pbes2())
    yield _unreadable(
        "wrong", "The passphrase is wrong.", pkcs12(usual), WRONG, passphrase="Secret"
    )
    yield _unreadable(
        "missing",
        "The passphrase is missing.",
        pkcs12(usual),
        error("key_encrypted", "passphrase"),
        passphrase=None,
    )
    for name in ("5.1", "5.4", "5.10", "5.11", "12.1.9"):
        scheme = sequence(
            oid(f"1.2.840.113549.1.{name}"), sequence(octets(b"saltsalt"), integer(2048))
        )
        sealed = encrypted_key_bag(sequence(scheme, octets(bytes(64))))
        yield _unreadable(
            f"pbes1-{name}",
            f"The key is encrypted with 1.2.840.113549.1.{name}, which is obsolete.",
            pkcs12((open_safe(*_chain(), sealed),)),
        )
    for name, sealing in (("pbes2", Pbes2()), ("old", Pkcs12Pbe()), ("rc4", Pkcs12Pbe("rc4-40"))):
        yield _unreadable(
            f"wrong-no-mac-{name}",
            f"The passphrase is wrong; there is no MAC ({name}).",
            pkcs12(_safes(sealing, sealing), None),
            WRONG,
            passphrase="Secret",
        )
    yield _unreadable(
        "forged",
        "An octet was changed after the MAC was computed.",
        pkcs12(usual).replace(b"\x06\x09", b"\x06\x0a", 1)[:-1] + b"\x01",
    )
    yield _unreadable(
        "mac-forged",
        "The MAC of another file.",
        _with_mac_of(pkcs12(usual), pkcs12((open_safe(*_chain()),))),
        WRONG,
    )
    costly = Pbes2(iterations=10**7)
    yield _unreadable(
        "costly-mac",
        "Ten million iterations for the MAC.",
        pkcs12(usual, Mac(iterations=10**7)),
        COSTLY,
    )
    yield _unreadable(
        "costly-pbmac1",
        "Ten million iterations for PBMAC1.",
        pkcs12(usual, Mac(iterations=10**7, pbmac1=True)),
        COSTLY,
    )
    yield _unreadable(
        "costly-safe",
        "Ten million iterations for the certificates.",
        pkcs12(_safes(costly, Pbes2())),
        COSTLY,
    )
    yield _unreadable(
        "costly-key", "Ten million iterations for the key.", pkcs12(_safes(Pbes2(), costly)), COSTLY
    )
    yield _unreadable(
        "costly-scrypt",
        "scrypt with N = 2^30 for the key.",
        pkcs12(_safes(Pbes2(), Scrypt(n=2**30))),
        COSTLY,
    )
    yield _unreadable(
        "costly-hidden",
        "Ten million iterations for a key inside an encrypted safe.",
        pkcs12((sealed_safe(*_chain(), shrouded_key_bag(_leaf_key(), costly), sealing=Pbes2()),)),
        COSTLY,
    )
    yield _unreadable(
        "costly-together",
        "Thirty keys of 100,000 iterations each.",
        pkcs12(
            tuple(
                open_safe(shrouded_key_bag(pkcs8(ec_key(f"{n}")), Pbes2(iterations=100_000)))
                for n in range(30)
            )
        ),
        COSTLY,
    )
    nss = Pbes2(iterations=600_000)
    yield _unreadable(
        "costly-nss",
        "A file of NSS or Firefox: 600,000 iterations each for MAC, certificates and key.",
        pkcs12(_safes(nss, nss), Mac(iterations=600_000)),
        COSTLY,
    )
    other = pkcs8(ec_key("mail.example.com"))
    yield case(
        "two-keys",
        "Two different keys.",
        pkcs12((open_safe(*_chain(), key_bag(_leaf_key()), key_bag(other)),)),
        INVALID,
    ).but(key=False)
    yield case(
        "mismatch",
        "The key of another certificate.",
        pkcs12((open_safe(*_chain(), key_bag(other)),)),
        error("key_mismatch", FILE),
    )
    yield case(
        "certificate-damaged",
        "An additional, damaged certificate.",
        pkcs12((open_safe(*_chain(), certificate_bag(leaf()[:200]), key_bag(_leaf_key())),)),
        error("pem_invalid", FILE),
    )
    yield _unreadable(
        "leaf-damaged",
        "The leaf is damaged.",
        pkcs12((open_safe(certificate_bag(leaf()[:200]), _chain()[1], key_bag(_leaf_key())),)),
        error("pem_invalid", FILE),
    ).but(key=True)
    many = [certificate_bag(intermediate().certificate)] * 101
    yield case(
        "too-many",
        "More than a hundred certificates.",
        pkcs12((open_safe(certificate_bag(leaf()), *many, key_bag(_leaf_key())),)),
        error("pem_invalid", FILE),
        *[info("duplicate", FILE)] * 98,
    )
    yield _unreadable(
        "key-damaged",
        "The last octets of the key are missing.",
        pkcs12((open_safe(*_chain(), key_bag(_leaf_key()[:-9])),)),
    )


def _other_data() -> Iterator[Case]:
    file = pkcs12(_safes(Pbes2(), Pbes2()))
    yield _unreadable("truncated", "Half of the file.", file[: len(file) // 2])
    yield _unreadable("followed", "Nine octets after its end.", file + bytes(9))
    yield _unreadable("version-4", "Version 4, which does not exist.", pkcs12((), version=4))
    yield _unreadable("certificate", "A certificate, DER.", leaf())
    yield _unreadable("key", "A key, DER.", _leaf_key())
    yield _unreadable("pem", "PEM.", pem(leaf()).encode())
    yield _unreadable("pem-key", "A key in PEM.", key_pem())
    yield _unreadable("zeros", "A KiB of zeros.", bytes(1024))
    yield _unreadable("text", "Plain text.", b"not a file")
    yield _unreadable(
        "unknown-encryption",
        "Encrypted with an unknown algorithm.",
        pkcs12(
            (
                open_safe(
                    encrypted_key_bag(
                        sequence(sequence(oid("1.3.6.1.4.1.99999.5"), NULL), octets(bytes(32)))
                    )
                ),
            )
        ),
    )
    deep = key_bag(_leaf_key())
    for _ in range(40):
        deep = nested_bag(deep)
    yield _unreadable("nested-deep", "Forty nested safes.", pkcs12((open_safe(deep),)))
    yield _unreadable(
        "digest-unknown",
        "The digest of the MAC is unknown.",
        sequence(
            *_parts(pkcs12((), None)),
            sequence(
                sequence(sequence(oid("1.3.6.1.4.1.99999.6"), NULL), octets(bytes(32))),
                octets(bytes(8)),
                integer(1),
            ),
        ),
    )


def _parts(file: bytes) -> list[bytes]:
    """Returns version, content and, if there is one, MAC of a file."""
    return [bytes(part.encoded) for part in ber.only(file).children()]


def _with_mac_of(file: bytes, other: bytes) -> bytes:
    return sequence(*_parts(file)[:2], _parts(other)[2])
