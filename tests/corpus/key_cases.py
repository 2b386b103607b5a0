"""Private keys: every form, every encryption, every weakness; and what is not a private key."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import der
from .authority import WWW, intermediate, leaf
from .case import Case, Expected, error, info, key_pem, pem, pems, warning
from .case import sent as sent_with
from .der import NULL, bits, integer, octets, oid, sequence, tagged
from .keys import (
    Rsa,
    dsa_key,
    ec_key,
    ed448_key,
    ed25519_key,
    next_prime,
    pkcs8,
    prime,
    roca_prime,
    rsa_key,
    rsa_spki,
    spki_of,
    traditional,
    x25519_key,
)
from .sealed import PASSPHRASE, Pbes2, Pkcs12Pbe, Scrypt, Sealing, encrypted_pkcs8

KEY = "private_key"
INVALID = error("key_invalid", KEY)
WEAK = error("key_weak", KEY)
NOT_SERVABLE = error("not_servable")
COSTLY = error("key_too_costly", KEY)


@dataclass(frozen=True)
class Pair:
    """A key, in DER of some form, and the public key for which there is a certificate."""

    spki: bytes
    key: bytes


def cases() -> Iterator[Case]:
    yield from _forms()
    yield from _encrypted()
    yield from _old_headers()
    yield from _costly()
    yield from _kinds()
    yield from _weak_rsa()
    yield from _wrong_numbers()
    yield from _mismatched()
    yield from _no_keys()


def case(
    name: str,
    made: str,
    key: bytes,
    *findings: Expected,
    read: bool = True,
    spki: bytes | None = None,
    passphrase: str | None = None,
) -> Case:
    """The usual leaf, or one for another public key, with this private key."""
    certificate = leaf(spki=spki) if spki else leaf()
    material = sent_with(pems(certificate, intermediate().certificate), key)
    if passphrase is not None:
        material = type(material)(
            material.body, private_key=material.private_key, passphrase=passphrase
        )
    return Case(f"key-{name}", made, material, findings=findings, key=read)


def _armoured(der_: bytes, label: str = "PRIVATE KEY") -> bytes:
    return pem(der_, label).encode()


def _forms() -> Iterator[Case]:
    mine, rsa = ec_key(WWW), rsa_key("2048")
    of_rsa = spki_of(rsa)
    point = mine.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
    compressed = sequence(algorithm, bits(point))
    yield case(
        "compressed", "The certificate has its point compressed.", pkcs8(mine), spki=compressed
    )
    two = pems(leaf(spki=compressed), leaf("other.example.com"), intermediate().certificate)
    yield Case(
        "key-compressed-beside-another",
        "The same, with another leaf beside it.",
        sent_with(two, pkcs8(mine)),
        findings=(warning("unrelated_certificate"),),
    )
    yield case("pkcs8-der", "PKCS#8, DER.", pkcs8(mine))
    yield case("sec1-pem", "SEC 1, PEM.", _armoured(traditional(mine), "EC PRIVATE KEY"))
    yield case("sec1-der", "SEC 1, DER.", traditional(mine))
    parameters = _armoured(oid("1.2.840.10045.3.1.7"), "EC PARAMETERS")
    yield case(
        "sec1-parameters",
        "SEC 1 with EC PARAMETERS before it, as OpenSSL writes it.",
        parameters + _armoured(traditional(mine), "EC PRIVATE KEY"),
    )
    yield case(
        "sec1-without-public-key",
        "SEC 1 without the optional public key.",
        _armoured(_sec1(mine, public=False), "EC PRIVATE KEY"),
    )
    yield case("pkcs8-rsa", "PKCS#8 of an RSA key, PEM.", _armoured(pkcs8(rsa)), spki=of_rsa)
    yield case("pkcs8-rsa-der", "PKCS#8 of an RSA key, DER.", pkcs8(rsa), spki=of_rsa)
    yield case(
        "pkcs1-pem", "PKCS#1, PEM.", _armoured(traditional(rsa), "RSA PRIVATE KEY"), spki=of_rsa
    )
    yield case("pkcs1-der", "PKCS#1, DER.", traditional(rsa), spki=of_rsa)
    yield case("crlf", "Line ends of Windows.", key_pem().replace(b"\n", b"\r\n"))
    yield case("bom", "A byte order mark before it.", b"\xef\xbb\xbf" + key_pem())
    yield case(
        "indented",
        "Indented, as in YAML.",
        b"".join(b"    " + line + b"\n" for line in key_pem().splitlines()),
    )
    yield case(
        "escaped",
        "Newlines escaped twice.",
        key_pem().replace(b"\n", b"\\n"),
        info("newlines_escaped", KEY),
    )
    yield case(
        "bag-attributes",
        "What `openssl pkcs12 -nodes` prints before it.",
        b"Bag Attributes\n    localKeyID: 01 02\nKey Attributes: <No Attributes>\n" + key_pem(),
    )
    yield case(
        "with-certificates",
        "Key and certificates in one file, as HAProxy has them.",
        key_pem() + pems(leaf(), intermediate().certificate).encode(),
    )
    yield case(
        "base64-twice",
        "The PEM in base64, once too often.",
        base64.encodebytes(key_pem()),
        info("base64_twice", KEY),
    )
    yield case(
        "base64-twice-der",
        "The DER in base64, once too often.",
        base64.b64encode(pkcs8(mine)),
        info("base64_twice", KEY),
    )
    yield case("twice", "The same key twice.", key_pem() * 2)
    yield case(
        "in-two-forms",
        "The same key as PKCS#8 and as SEC 1.",
        key_pem() + _armoured(traditional(mine), "EC PRIVATE KEY"),
    )
    yield case(
        "two", "Two different keys.", key_pem() + key_pem("mail.example.com"), INVALID, read=False
    )
    yield case(
        "whole-and-broken",
        "The key, and another that is cut.",
        key_pem() + key_pem("mail.example.com")[:120],
        error("pem_invalid", KEY),
    )
    yield case("label-lies", "SEC 1 with the label of PKCS#8.", _armoured(traditional(mine)))
    yield case(
        "label-lies-of-rsa",
        "PKCS#8 of a P-256 key with the label of RSA.",
        _armoured(pkcs8(mine), "RSA PRIVATE KEY"),
    )
    yield case(
        "passphrase-unused",
        "A passphrase for a key that is not encrypted.",
        key_pem(),
        info("passphrase_unused", "passphrase"),
        passphrase=PASSPHRASE,
    )
    yield case(
        "passphrase-empty",
        "An empty passphrase for a key that is not encrypted.",
        key_pem(),
        passphrase="",
    )


def _encrypted() -> Iterator[Case]:
    plain = pkcs8(ec_key(WWW))

    def sealed(name: str, made: str, how: Sealing) -> Case:
        key = _armoured(encrypted_pkcs8(plain, how), "ENCRYPTED PRIVATE KEY")
        return case(f"sealed-{name}", f"Encrypted PKCS#8: {made}", key, passphrase=PASSPHRASE)

    for cipher in ("aes-128", "aes-192", "aes-256", "3des"):
        yield sealed(
            f"pbkdf2-sha256-{cipher}", f"PBKDF2 with SHA-256, {cipher}.", Pbes2("sha256", cipher)
        )
    for prf in ("sha1", "sha384", "sha512"):
        yield sealed(f"pbkdf2-{prf}", f"PBKDF2 with {prf.upper()}.", Pbes2(prf))
    yield sealed("scrypt", "scrypt with N = 16384, as OpenSSL does it.", Scrypt(16384, 8, 1))
    yield sealed("pbkdf2-100000", "PBKDF2 with 65,536 iterations.", Pbes2(iterations=65_536))
    yield sealed("pkcs12-3des", "PKCS#12's own 3DES.", Pkcs12Pbe("3des"))
    yield case(
        "sealed-der",
        "Encrypted PKCS#8, DER.",
        encrypted_pkcs8(plain, Pbes2()),
        passphrase=PASSPHRASE,
    )
    yield case(
        "sealed-base64-twice",
        "Encrypted PKCS#8, in base64 once too often.",
        base64.b64encode(encrypted_pkcs8(plain, Pbes2())),
        info("base64_twice", KEY),
        passphrase=PASSPHRASE,
    )
    rsa = rsa_key("2048")
    yield case(
        "sealed-rsa",
        "Encrypted PKCS#8 of an RSA key.",
        encrypted_pkcs8(pkcs8(rsa), Pbes2()),
        spki=spki_of(rsa),
        passphrase=PASSPHRASE,
    )
    foreign = "Pässwörd 鍵🔑"
    yield case(
        "sealed-unicode",
        "The passphrase has umlauts, a Chinese character and an emoji.",
        encrypted_pkcs8(plain, Pbes2(), foreign),
        passphrase=foreign,
    )
    sealings: dict[str, Sealing] = {"pbkdf2": Pbes2(), "scrypt": Scrypt(), "3des": Pkcs12Pbe()}
    for name, how in sealings.items():
        key = encrypted_pkcs8(plain, how)
        yield case(
            f"sealed-{name}-wrong",
            f"Encrypted ({name}), and the passphrase is wrong.",
            key,
            error("passphrase_wrong", "passphrase"),
            read=False,
            passphrase=PASSPHRASE + " ",
        )
        yield case(
            f"sealed-{name}-none",
            f"Encrypted ({name}), and no passphrase.",
            key,
            error("key_encrypted", KEY),
            read=False,
        )
    yield case(
        "sealed-empty-passphrase",
        "Encrypted, and the passphrase sent is empty.",
        encrypted_pkcs8(plain, Pbes2()),
        error("key_encrypted", KEY),
        read=False,
        passphrase="",
    )
    yield case(
        "sealed-truncated",
        "Encrypted, and the last octets are missing.",
        encrypted_pkcs8(plain, Pbes2())[:-16],
        INVALID,
        read=False,
        passphrase=PASSPHRASE,
    )
    yield case(
        "sealed-text",
        "Encrypted, and what comes out is a sentence.",
        encrypted_pkcs8(b"Nothing to see here.", Pbes2()),
        error("passphrase_wrong", "passphrase"),
        read=False,
        passphrase=PASSPHRASE,
    )
    yield case(
        "sealed-twice",
        "Encrypted, and what comes out is encrypted again.",
        encrypted_pkcs8(encrypted_pkcs8(plain, Pbes2()), Pbes2()),
        INVALID,
        read=False,
        passphrase=PASSPHRASE,
    )
    yield case(
        "sealed-unknown-cipher",
        "PBES2 with a cipher that is not known here.",
        encrypted_pkcs8(plain, Pbes2()).replace(
            oid("2.16.840.1.101.3.4.1.42"), oid("2.16.840.1.101.3.4.1.99")
        ),
        INVALID,
        read=False,
        passphrase=PASSPHRASE,
    )
    unknown = sequence(oid("1.3.6.1.4.1.99999.5"), NULL)
    yield case(
        "sealed-unknown",
        "Encrypted in a way that nobody knows.",
        sequence(unknown, octets(b"x" * 32)),
        INVALID,
        read=False,
        passphrase=PASSPHRASE,
    )
    for cipher, label in (("AES-128-CBC", "EC PRIVATE KEY"), ("DES-EDE3-CBC", "EC PRIVATE KEY")):
        key = _traditional_sealed(traditional(ec_key(WWW)), cipher, label)
        name = cipher.partition("-")[0].lower()
        yield case(
            f"sealed-old-{name}",
            f"The encryption of old (RFC 1421), {cipher}.",
            key,
            passphrase=PASSPHRASE,
        )
        yield case(
            f"sealed-old-{name}-wrong",
            f"As before, {cipher}, another passphrase.",
            key,
            error("passphrase_wrong", "passphrase"),
            read=False,
            passphrase="another",
        )
        yield case(
            f"sealed-old-{name}-none",
            f"As before, {cipher}, no passphrase.",
            key,
            error("key_encrypted", KEY),
            read=False,
        )
    yield case(
        "sealed-old-rsa",
        "The encryption of old, of an RSA key.",
        _traditional_sealed(traditional(rsa), "AES-256-CBC", "RSA PRIVATE KEY"),
        spki=spki_of(rsa),
        passphrase=PASSPHRASE,
    )
    yield case(
        "sealed-old-unknown",
        "The encryption of old, with a cipher that nobody knows.",
        _traditional_sealed(traditional(ec_key(WWW)), "AES-128-CBC", "EC PRIVATE KEY").replace(
            b"AES-128-CBC", b"ROT-13-CBC"
        ),
        INVALID,
        read=False,
        passphrase=PASSPHRASE,
    )


def _old_headers() -> Iterator[Case]:
    """Encryption headers (RFC 1421) as editors leave them."""
    plain = traditional(ec_key(WWW))
    usual = _traditional_sealed(plain, "AES-256-CBC", "EC PRIVATE KEY").decode()
    for name, made, text in (
        ("indented", "indented", "".join(f"  {line}\n" for line in usual.splitlines())),
        ("no-blank-line", "without the blank line", usual.replace("\n\n", "\n")),
        ("blanks", "with blanks in the blank line", usual.replace("\n\n", "\n \t\n")),
        ("cr", "with CR alone", usual.replace("\n", "\r")),
        ("flattened", "in one line", usual.replace("\n", " ")),
        ("bom", "with a byte order mark before each line", usual.replace("\n", "\n\ufeff")),
    ):
        yield case(
            f"sealed-headers-{name}",
            f"An encrypted key of the old kind, {made}.",
            text.encode(),
            passphrase=PASSPHRASE,
        )


def _costly() -> Iterator[Case]:
    """Only said to cost so much: whoever tried would find the passphrase wrong."""
    plain = pkcs8(ec_key(WWW))
    hows: dict[str, tuple[str, Sealing]] = {
        "pbkdf2": ("PBKDF2 with ten million iterations.", Pbes2(iterations=10_000_000)),
        "pbkdf2-sha512": (
            "PBKDF2 with SHA-512 and ten million iterations.",
            Pbes2("sha512", iterations=10_000_000),
        ),
        "pbkdf2-2-64": ("PBKDF2 with 2^64 iterations.", Pbes2(iterations=1 << 64)),
        "pbkdf2-2-2000": ("PBKDF2 with 2^2000 iterations.", Pbes2(iterations=1 << 2000)),
        "pkcs12-3des": (
            "PKCS#12's own 3DES, ten million iterations.",
            Pkcs12Pbe("3des", 10_000_000),
        ),
        "scrypt-n": ("scrypt with N = 2^30: a TiB.", Scrypt(1 << 30, 8, 1)),
        "scrypt-r": ("scrypt with r = 2^25.", Scrypt(1 << 10, 1 << 25, 1)),
        "scrypt-p": ("scrypt with p = 2^20: little memory, and an hour.", Scrypt(1024, 8, 1 << 20)),
    }
    for name, (made, how) in hows.items():
        yield case(
            f"costly-{name}",
            f"Encrypted PKCS#8: {made}",
            encrypted_pkcs8(plain, how),
            COSTLY,
            read=False,
            passphrase=PASSPHRASE,
        )
    yield case(
        "costly-without-passphrase",
        "Ten million iterations, and no passphrase.",
        encrypted_pkcs8(plain, Pbes2(iterations=10_000_000)),
        COSTLY,
        read=False,
    )
    many = b"".join(
        _armoured(
            encrypted_pkcs8(plain + bytes([number]), Pbes2(iterations=60_000)),
            "ENCRYPTED PRIVATE KEY",
        )
        for number in range(20)
    )
    yield case(
        "costly-together",
        "Twenty keys of 60,000 iterations each.",
        many,
        COSTLY,
        read=False,
        passphrase=PASSPHRASE,
    )


def _kinds() -> Iterator[Case]:
    def kind(
        name: str, made: str, spki: bytes, key: bytes, *findings: Expected, read: bool = True
    ) -> Case:
        return case(f"of-{name}", made, key, *findings, spki=spki, read=read)

    curves: list[tuple[str, ec.EllipticCurve, tuple[Expected, ...]]] = [
        ("p384", ec.SECP384R1(), ()),
        ("p521", ec.SECP521R1(), (warning("key_weak", KEY),)),
        ("p224", ec.SECP224R1(), (WEAK, NOT_SERVABLE)),
        ("secp256k1", ec.SECP256K1(), (WEAK, NOT_SERVABLE)),
        ("brainpool-p256", ec.BrainpoolP256R1(), (WEAK,)),
    ]
    for name, curve, findings in curves:
        key = ec_key(f"of {name}", curve)
        yield kind(name, f"A key on {curve.name}.", spki_of(key), pkcs8(key), *findings)
    for ed in (ed25519_key(WWW), ed448_key(WWW)):
        name = type(ed).__name__.removeprefix("_").removesuffix("PrivateKey").lower()
        yield kind(name, f"An {name} key.", spki_of(ed), pkcs8(ed), warning("key_weak", KEY))
    version_2 = sequence(
        integer(1),
        sequence(oid("1.3.101.112")),
        octets(octets(_seed())),
        der.element(0x81, b"\0" + _raw(spki_of(ed25519_key(WWW)))),
    )
    yield kind(
        "ed25519-version-2",
        "An Ed25519 key with its public key (RFC 5958).",
        spki_of(ed25519_key(WWW)),
        version_2,
        warning("key_weak", KEY),
    )
    for size in ("2048", "3072", "4096"):
        rsa = rsa_key(size)
        yield kind(f"rsa-{size}", f"An RSA key of {size} bits.", spki_of(rsa), pkcs8(rsa))
    dsa = dsa_key()
    yield kind("dsa", "A DSA key.", spki_of(dsa), pkcs8(dsa), INVALID, read=False)
    x = x25519_key(WWW)
    yield kind(
        "x25519",
        "An X25519 key, which signs nothing.",
        spki_of(x),
        pkcs8(x),
        INVALID,
        NOT_SERVABLE,
        read=False,
    )
    p, g = (1 << 2048) - 1942289, 2
    dh = sequence(oid("1.2.840.113549.1.3.1"), sequence(integer(p), integer(g)))
    secret = int.from_bytes(hashlib.sha256(b"corpus dh").digest())
    yield kind(
        "dh",
        "A Diffie-Hellman key, which signs nothing.",
        sequence(dh, bits(integer(pow(g, secret, p)))),
        sequence(integer(0), dh, octets(integer(secret))),
        INVALID,
        NOT_SERVABLE,
        read=False,
    )
    ml = MLDSA44PrivateKey.from_seed_bytes(_seed())
    yield kind(
        "ml-dsa-44",
        "An ML-DSA-44 key.",
        ml.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        sequence(
            integer(0), sequence(oid("2.16.840.1.101.3.4.3.17")), octets(der.element(0x80, _seed()))
        ),
        INVALID,
        read=False,
    )
    pss = sequence(oid("1.2.840.113549.1.1.10"))
    rsa = rsa_key("2048")
    spki = sequence(pss, bits(_raw(spki_of(rsa))))
    for name, form, octets_ in (
        ("pkcs1", "PKCS#1", _armoured(traditional(rsa), "RSA PRIVATE KEY")),
        ("pkcs8", "PKCS#8", _armoured(pkcs8(rsa))),
        ("der", "DER", traditional(rsa)),
    ):
        yield kind(
            f"rsa-pss-{name}",
            f"A certificate for RSASSA-PSS alone, and the key as any RSA key in {form}.",
            spki,
            octets_,
            error("key_invalid"),
            NOT_SERVABLE,
        )
    yield kind(
        "rsa-pss",
        "An RSA key for RSASSA-PSS alone.",
        spki,
        sequence(integer(0), pss, octets(traditional(rsa))),
        INVALID,
        read=False,
    )
    unknown = sequence(oid("1.3.6.1.4.1.99999.6"))
    yield kind(
        "unknown-algorithm",
        "A key of an algorithm that nobody knows.",
        sequence(unknown, bits(b"any bits")),
        sequence(integer(0), unknown, octets(b"any")),
        error("key_invalid"),
        error("chain_broken"),
        INVALID,
        read=False,
    ).but(trust="incomplete", served=1)


def _weak_rsa() -> Iterator[Case]:
    def weak(name: str, made: str, key: Rsa, *, findings: tuple[Expected, ...] = (WEAK,)) -> Case:
        return case(f"rsa-{name}", made, key.pkcs8, *findings, spki=key.spki)

    for size in ("1024", "8192", "16384"):
        rsa = rsa_key(size)
        yield case(
            f"rsa-{size}",
            f"An RSA key of {size} bits.",
            pkcs8(rsa),
            WEAK,
            *([NOT_SERVABLE] if size == "1024" else []),
            spki=spki_of(rsa),
        )
    a, b = prime("a", 1024), prime("b", 1024)
    yield weak("2047", "An RSA key of 2047 bits.", Rsa(a, _smaller("c")))
    yield weak("2049", "An RSA key of 2049 bits.", Rsa(a, prime("d", 1025)))
    three = Rsa(prime("three a", 1024, 3), prime("three b", 1024, 3), 3)
    yield weak("exponent-3", "The public exponent is 3.", three)
    yield weak(
        "exponent-1",
        "The public exponent is 1, so what is signed is the signature.",
        Rsa(a, b, 1, d=1),
        findings=(error("key_invalid", "body"), WEAK),
    )
    yield weak(
        "exponent-even",
        "The public exponent is 65536.",
        Rsa(a, b, 65536, d=65537),
        findings=(error("key_invalid", "body"), WEAK),
    )
    big = prime("exponent", 64)
    yield weak("exponent-64-bits", "The public exponent has 64 bits.", Rsa(a, b, big))
    huge = prime("exponent", 2000)
    yield weak(
        "exponent-2000-bits", "The public exponent has 2000 bits: slow to verify.", Rsa(a, b, huge)
    )
    seventeen = Rsa(prime("17 a", 1024, 17), prime("17 b", 1024, 17), 17)
    yield weak(
        "exponent-17",
        "The public exponent is 17, which is unusual and sane.",
        seventeen,
        findings=(),
    )
    yield weak(
        "small-factor",
        "The modulus is divisible by 65519.",
        Rsa(65519, prime("small", 2048 - 16), 65537),
        findings=(WEAK,),
    )
    for bits_of_one in (65, 512, 1003):
        yield weak(
            f"prime-{bits_of_one}-bits",
            f"One prime has {bits_of_one} bits, the other the rest of 2048.",
            Rsa(
                prime(f"short {bits_of_one}", bits_of_one),
                prime(f"long {bits_of_one}", 2048 - bits_of_one),
            ),
        )
    for pattern in ("aa", "c1", "ff", "c0de"):
        most = int(pattern * (128 // (len(pattern) // 2)), 16)
        yield weak(
            f"prime-of-{pattern}",
            f"One prime is the first after 1024 bits of 0x{pattern}.",
            Rsa(next_prime(most - (1 << 24)), a),
        )
    half = int.from_bytes(b"\xd5" * 64) << 512 | prime("half", 512)
    yield weak("prime-half-alike", "One half of a prime is of one byte.", Rsa(next_prime(half), a))
    yield weak("close-primes", "The primes are neighbours (Fermat).", Rsa(a, next_prime(a)))
    yield weak(
        "roca",
        "Primes as the library behind CVE-2017-15361 made them.",
        Rsa(roca_prime("a"), roca_prime("b")),
    )
    # Wiener: a private exponent below a third of the fourth root of the modulus.
    small_d = prime("small d", 256)
    e = pow(small_d, -1, (a - 1) * (b - 1))
    yield weak(
        "small-private-exponent",
        "A private exponent of 256 bits (Wiener).",
        Rsa(a, b, e, d=small_d),
        findings=(WEAK, WEAK),
    )


def _wrong_numbers() -> Iterator[Case]:
    """Damaged: the certificate is for the key that it was."""
    a, b, c = prime("a", 1024), prime("b", 1024), prime("other", 1024)
    whole = Rsa(a, b)

    def wrong(name: str, made: str, key: bytes, *findings: Expected, read: bool = False) -> Case:
        return case(
            f"damaged-{name}", made, key, *(findings or (INVALID,)), spki=whole.spki, read=read
        )

    yield wrong(
        "modulus", "The modulus is not the product of the primes.", Rsa(a, c, n=whole.modulus).pkcs8
    )
    yield wrong(
        "private-exponent",
        "The private exponent is two too large.",
        Rsa(a, b, d=pow(65537, -1, (a - 1) * (b - 1)) + 2).pkcs8,
    )
    yield wrong(
        "crt-exponent",
        "The first CRT exponent is two too large.",
        Rsa(a, b, d_p=pow(65537, -1, a - 1) + 2).pkcs8,
    )
    yield wrong("primes-equal", "Both primes are the same.", Rsa(a, a, d=1, n=a * a).pkcs8)
    yield wrong("zero", "All numbers are zero.", sequence(*(integer(0) for _ in range(9))))
    yield wrong("negative", "The modulus is negative.", Rsa(a, b, n=-whole.modulus).pkcs8)
    x, y = prime("x", 512), prime("y", 512)
    composite = Rsa(a, x * y)
    yield case(
        "damaged-composite",
        "One of the primes is none.",
        Rsa(a, x * y, d=pow(65537, -1, (a - 1) * (x * y - 1))).pkcs8,
        error("key_mismatch", KEY),
        spki=composite.spki,
    )
    mine = ec_key(WWW)
    other = ec_key("mail.example.com")
    yield case(
        "damaged-ec-public-key",
        "SEC 1 with the public key of the certificate and the private key of another.",
        _sec1(other, public_of=mine),
        INVALID,
        read=False,
    )
    yield case(
        "damaged-ec-zero", "A private key of 0 on P-256.", _sec1_of(b"\0" * 32), INVALID, read=False
    )
    yield case(
        "damaged-ec-order",
        "A private key as large as the order of P-256.",
        _sec1_of(bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")),
        INVALID,
        read=False,
    )
    yield case(
        "ec-short",
        "A private key of 31 octets on P-256, and not the certificate's.",
        _sec1_of(b"\x01" * 31),
        error("key_mismatch", "private_key"),
    )
    number = ec_key(WWW).private_numbers().private_value
    for size in (33, 40):
        scalar = number.to_bytes(size)
        curve = tagged(0, oid("1.2.840.10045.3.1.7"))
        sec1 = sequence(integer(1), octets(scalar), curve)
        yield case(f"ec-scalar-{size}", f"SEC 1, the scalar in {size} octets.", sec1)
        algorithm = sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
        inner = sequence(integer(1), octets(scalar))
        yield case(
            f"ec-scalar-{size}-pkcs8",
            f"PKCS#8, the scalar in {size} octets.",
            sequence(integer(0), algorithm, octets(inner)),
        )
    yield case(
        "damaged-ec-long",
        "A private key of 33 octets on P-256, the first not zero.",
        _sec1_of(b"\x01" * 33),
        INVALID,
        read=False,
    )
    yield case(
        "damaged-ec-unknown-curve",
        "A key on a curve that nobody knows.",
        sequence(integer(1), octets(b"\x01" * 32), tagged(0, oid("1.3.132.0.99"))),
        INVALID,
        read=False,
    )
    yield case(
        "damaged-ed25519-short",
        "An Ed25519 key of 31 octets.",
        sequence(integer(0), sequence(oid("1.3.101.112")), octets(octets(_seed()[:31]))),
        INVALID,
        read=False,
    )
    three_primes = sequence(
        integer(1),
        *(integer(number) for number in (a * b * c, 65537, 3, a, b, 1, 1, 1)),
        sequence(sequence(integer(c))),
    )
    yield case(
        "damaged-three-primes", "An RSA key of three primes.", three_primes, INVALID, read=False
    )
    for eighth in range(1, 8):
        der_ = pkcs8(mine)
        yield case(
            f"truncated-{eighth}",
            f"PKCS#8, DER, cut after {eighth} eighths.",
            der_[: len(der_) * eighth // 8],
            INVALID,
            read=False,
        )
    yield case(
        "trailing-bytes",
        "Four bytes follow the key.",
        pkcs8(mine) + b"\0\0\0\0",
        INVALID,
        read=False,
    )
    yield case(
        "truncated-pem", "The PEM is cut.", key_pem()[:150], error("pem_invalid", KEY), read=False
    )
    yield case(
        "no-begin", "The BEGIN line is missing.", key_pem().partition(b"\n")[2], INVALID, read=False
    )


def _mismatched() -> Iterator[Case]:
    rsa, other_rsa = rsa_key("2048"), rsa_key("3072")
    pairs = {
        "p256": (spki_of(ec_key(WWW)), pkcs8(ec_key("other"))),
        "p384": (spki_of(ec_key("m", ec.SECP384R1())), pkcs8(ec_key("other", ec.SECP384R1()))),
        "rsa": (spki_of(rsa), pkcs8(other_rsa)),
        "ed25519": (spki_of(ed25519_key(WWW)), pkcs8(ed25519_key("other"))),
        "ed448": (spki_of(ed448_key(WWW)), pkcs8(ed448_key("other"))),
    }
    for of_certificate, (spki, _) in pairs.items():
        for of_key, (_, key) in pairs.items():
            yield case(
                f"mismatch-{of_certificate}-{of_key}",
                f"A certificate for {of_certificate}, and another's key ({of_key}).",
                key,
                error("key_mismatch", KEY),
                *((warning("key_weak", KEY),) if of_certificate.startswith("ed") else ()),
                spki=spki,
            )
    # The same point in another encoding is another SubjectPublicKeyInfo.
    whole = Rsa(prime("a", 1024), prime("b", 1024))
    yield case(
        "mismatch-exponent",
        "The modulus is the same, the exponent is not.",
        Rsa(whole.p, whole.q, 257).pkcs8,
        error("key_mismatch", KEY),
        spki=rsa_spki(whole.modulus, 65537),
    )


def _no_keys() -> Iterator[Case]:
    def other(name: str, made: str, key: bytes, *findings: Expected) -> Case:
        return case(f"not-{name}", made, key, *(findings or (INVALID,)), read=False)

    public = spki_of(ec_key(WWW))
    yield other("empty", "No octet.", b"")
    yield other("blank", "Blanks and newlines.", b" \n\n")
    yield other("text", "A passphrase in place of the key.", b"hunter2")
    yield other("zeros", "A KiB of zeros.", bytes(1024))
    yield other("certificate", "The certificate once more.", pem(leaf()).encode())
    yield other("certificate-der", "The certificate once more, DER.", leaf())
    yield other("public-key", "The public key.", _armoured(public, "PUBLIC KEY"))
    yield other("public-key-der", "The public key, DER.", public)
    yield other(
        "parameters", "EC PARAMETERS alone.", _armoured(oid("1.2.840.10045.3.1.7"), "EC PARAMETERS")
    )
    yield other(
        "openssh",
        "OpenSSH's own format.",
        _armoured(b"openssh-key-v1\0" + bytes(64), "OPENSSH PRIVATE KEY"),
    )
    yield other(
        "pgp",
        "A PGP private key.",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n"
        + base64.encodebytes(bytes(60))
        + b"=AAAA\n-----END PGP PRIVATE KEY BLOCK-----\n",
        error("pem_invalid", KEY),
    )
    yield other("ppk", "PuTTY's own format.", b"PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n")
    yield other("jwk", "A JSON Web Key.", b'{"kty": "EC", "crv": "P-256", "d": "AAAA"}')
    yield other("utf-16", "PEM in UTF-16.", key_pem().decode().encode("utf-16"))
    yield other(
        "nested-sequences",
        "Thirty thousand SEQUENCEs, each within the other.",
        _nested(30_000),
        INVALID,
        error("unreadable_too_long", KEY),
    )
    yield other(
        "huge-length",
        "A SEQUENCE that claims 2^63 octets.",
        b"\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff",
    )
    yield other("indefinite", "A SEQUENCE of indefinite length that never ends.", b"\x30\x80" * 500)
    yield other(
        "wrong-end",
        "Its END names another label.",
        key_pem().replace(b"END PRIVATE", b"END RSA PRIVATE"),
        error("pem_invalid", KEY),
    )


def _sec1(
    key: ec.EllipticCurvePrivateKey,
    *,
    public: bool = True,
    public_of: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    secret = key.private_numbers().private_value.to_bytes(32)
    point = _raw(spki_of(public_of or key))
    return sequence(
        integer(1),
        octets(secret),
        tagged(0, oid("1.2.840.10045.3.1.7")),
        tagged(1, bits(point)) if public else b"",
    )


def _sec1_of(secret: bytes) -> bytes:
    return sequence(integer(1), octets(secret), tagged(0, oid("1.2.840.10045.3.1.7")))


def _raw(spki: bytes) -> bytes:
    """The bits of a SubjectPublicKeyInfo, which is the end of it."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    key = load_der_public_key(spki)
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _seed() -> bytes:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    return ed25519_key(WWW).private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def _smaller(name: str) -> int:
    """A prime of 1024 bits so small that with one of our usual ones it makes 2047 bits."""
    return next_prime((1 << 1023) + prime(name, 512))


def _nested(depth: int) -> bytes:
    made = b""
    for _ in range(depth):
        made = b"\x30\x83" + len(made).to_bytes(3) + made
    return made


def _traditional_sealed(plain: bytes, cipher: str, label: str) -> bytes:
    """RFC 1421, 4.6.1.1, with the derivation of OpenSSL (one MD5 a block)."""
    algorithm, length, block = {
        "AES-128-CBC": (AES, 16, 16),
        "AES-256-CBC": (AES, 32, 16),
        "DES-EDE3-CBC": (TripleDES, 24, 8),
    }[cipher]
    vector = b"corpus vector 16"[:block]
    made = last = b""
    while len(made) < length:
        last = hashlib.md5(last + PASSPHRASE.encode() + vector[:8]).digest()
        made += last
    padder = PKCS7(8 * block).padder()
    encryptor = Cipher(algorithm(made[:length]), modes.CBC(vector)).encryptor()
    text = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    armour = pem(text, label).split("\n", 1)
    headers = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: {cipher},{vector.hex().upper()}\n\n"
    return f"{armour[0]}\n{headers}{armour[1]}".encode()
