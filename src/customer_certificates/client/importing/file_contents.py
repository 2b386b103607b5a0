"""Reads the certificates and private keys in a file, in any supported format."""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from ...errors import Finding
from ...pki.asn1.ber import NotBer
from ...pki.asn1.pkcs7 import read_pkcs7
from ...pki.keys.loading import pkcs8
from ...pki.keys.pkcs12 import Keystore, read_keystore
from ...pki.keys.public_keys import PrivateKey
from ...pki.keys.reading import KeyRead, read_key, unwrap_base64
from ...pki.pem.markers import is_pem
from ...pki.pem.reader import CERTIFICATE_LABELS, PKCS7_LABELS, Block, read_blocks
from ...pki.x509 import certificate as certificates
from ...pki.x509.certificate import Certificate
from .scan import LARGEST_FILE_BYTES, File, is_expected

T = TypeVar("T", KeyRead, Keystore)

# The name in findings, in place of the name of an upload's field.
_FIELD = "the file"
_LOCKED = {"key_encrypted", "passphrase_wrong"}
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# Without a byte order mark, every other byte of PEM in UTF-16 is zero.
_DASHES = {"-----".encode(name): name for name in _BYTE_ORDER_MARKS.values()}
_UTF16_SEARCHED = 4096
# JKS and JCEKS.
_JAVA_KEYSTORES = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_JAVA_HINT = (
    "Java keystores (JKS) are not supported; convert the file with keytool -importkeystore"
    " -srckeystore store.jks -destkeystore store.p12 -deststoretype PKCS12"
)


@dataclass(frozen=True, slots=True)
class HeldKey:
    """The data of a private key, and the opened key or None if it cannot be opened."""

    data: bytes
    opened: PrivateKey | None
    passphrase: str | None


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of a file.

    `data` is the whole content. `passphrase` opened it if it is PKCS#12. `certificates` are in the
    order of the file. `problems` say why something could not be read.
    """

    file: File
    data: bytes = b""
    is_pem: bool = False
    is_pkcs12: bool = False
    passphrase: str | None = None
    certificates: tuple[Certificate, ...] = ()
    keys: tuple[HeldKey, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def opened_keys(self) -> list[PrivateKey]:
        """The private keys that could be read."""
        return [key.opened for key in self.keys if key.opened]


def look_into(file: File, passphrases: Sequence[str]) -> Contents:
    """Returns the content of `file`; tries each of `passphrases` on encrypted parts."""
    try:
        data = _read(file)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        is_told = file.is_named or is_expected(file.path)
        return Contents(file, problems=(problem,) if is_told else ())
    if data.startswith(_JAVA_KEYSTORES):
        return Contents(file, data, problems=(_JAVA_HINT,))
    data = _as_utf8(data)
    data = unwrap_base64(data) or data
    if is_pem(data):
        return _pem(Contents(file, data, is_pem=True), passphrases)
    if data.startswith(b"\x30"):
        return _der(Contents(file, data), passphrases)
    return Contents(file, data)


def is_nothing(contents: Contents) -> bool:
    """Returns whether the file has no certificates, keys or problems."""
    return not (contents.certificates or contents.keys or contents.problems)


def _read(file: File) -> bytes:
    """Returns the content of a regular file. Raises OSError.

    Never blocks, even if the file has become a pipe since the search.
    """
    with open(os.open(file.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            return b""
        data: bytes = opened.read(LARGEST_FILE_BYTES)
        return data


def _as_utf8(data: bytes) -> bytes:
    """Returns `data` in UTF-8. Some Windows programs write UTF-16."""
    encoding = _BYTE_ORDER_MARKS.get(data[:2])
    for dashes, name in _DASHES.items():
        # Text in one byte order matches the other one only at odd offsets.
        if encoding is None and data.find(dashes, 0, _UTF16_SEARCHED) % 2 == 0:
            encoding = name
    return data.decode(encoding, "replace").encode() if encoding else data


def _pem(contents: Contents, passphrases: Sequence[str]) -> Contents:
    text = contents.data.decode("utf-8", "replace")
    read = read_blocks(text, _FIELD)
    ders, problems = _ders(read.blocks)
    blocks = [block.der for block in read.blocks if block.label in CERTIFICATE_LABELS]
    found = [certificates.read(der, _FIELD, number) for number, der in enumerate(ders, 1)]
    problems += _errors(one for one in found if isinstance(one, Finding))
    # A broken request or public key is not worth a report.
    if blocks or any(label in CERTIFICATE_LABELS or _is_key(label) for label in read.broken):
        problems += _errors(read.findings)
    keys = []
    for block in read.blocks:
        if _is_key(block.label):
            data = block.to_pem().encode()
            read_as, passphrase = _unlock(partial(read_key, data), passphrases)
            keys.append(HeldKey(data, read_as.key, passphrase))
            problems += _problems(read_as, passphrases)
    return replace(
        contents,
        is_pem=ders == blocks,
        certificates=tuple(one for one in found if isinstance(one, Certificate)),
        keys=tuple(keys),
        problems=tuple(problems),
    )


def _ders(blocks: Iterable[Block]) -> tuple[list[bytes], list[str]]:
    """Returns the certificates in `blocks` and in their PKCS#7 bundles, and problems.

    Windows (certutil -encode) labels a bundle as CERTIFICATE too.
    """
    ders: list[bytes] = []
    problems: list[str] = []
    for block in blocks:
        if block.label in (*CERTIFICATE_LABELS, *PKCS7_LABELS):
            try:
                ders += read_pkcs7(block.der)
            except NotBer as error:
                if block.label in CERTIFICATE_LABELS:
                    ders.append(block.der)
                else:
                    problems.append(f"the PKCS#7 bundle cannot be read: {error}")
    return ders, problems


def _is_key(label: str) -> bool:
    # TLS servers do not use OpenSSH keys.
    return label.endswith("PRIVATE KEY") and not label.startswith("OPENSSH")


def _der(contents: Contents, passphrases: Sequence[str]) -> Contents:
    """Tries each DER format, because DER does not identify its content."""
    certificate = certificates.read(contents.data, _FIELD, 1)
    if isinstance(certificate, Certificate):
        return replace(contents, certificates=(certificate,))
    key, passphrase = _unlock(partial(read_key, contents.data), passphrases)
    if key.key or _is_locked(key):
        return replace(
            contents,
            keys=(HeldKey(contents.data, key.key, passphrase),),
            problems=tuple(_problems(key, passphrases)),
        )
    with suppress(NotBer):
        return _bundle(contents, read_pkcs7(contents.data))
    store, passphrase = _unlock(partial(read_keystore, contents.data), passphrases)
    found = [certificates.read(der, _FIELD, n) for n, der in enumerate(store.certificates, 1)]
    if not (found or store.keys or _is_locked(store)):
        # Many other files begin with the same byte.
        problem = "the file is not a certificate, a private key, a PKCS#12 or a PKCS#7 file"
        return replace(contents, problems=(problem,) if is_expected(contents.file.path) else ())
    return replace(
        contents,
        is_pkcs12=True,
        passphrase=passphrase,
        certificates=tuple(one for one in found if isinstance(one, Certificate)),
        keys=tuple(HeldKey(pkcs8(key), key, None) for key in store.keys),
        problems=(
            *_problems(store, passphrases),
            *_errors(one for one in found if isinstance(one, Finding)),
        ),
    )


def _bundle(contents: Contents, ders: Sequence[bytes]) -> Contents:
    """Returns the content of a PKCS#7 bundle, which has no private keys."""
    found = [certificates.read(der, _FIELD, number) for number, der in enumerate(ders, 1)]
    return replace(
        contents,
        certificates=tuple(one for one in found if isinstance(one, Certificate)),
        problems=tuple(_errors(one for one in found if isinstance(one, Finding))),
    )


def _unlock(read: Callable[[str | None], T], passphrases: Sequence[str]) -> tuple[T, str | None]:
    """Returns the result of `read` with the matching passphrase, and that passphrase."""
    result, used = read(None), None
    if not _is_locked(result):
        return result, None
    for passphrase in passphrases:
        opened = read(passphrase)
        if not _is_locked(opened):
            result, used = opened, passphrase
        # A wrong passphrase may by chance decrypt to data that is not a key.
        if opened.key if isinstance(opened, KeyRead) else opened.keys:
            break
    return result, used


def _is_locked(read: KeyRead | Keystore) -> bool:
    return any(finding.code in _LOCKED for finding in read.findings)


def _problems(read: KeyRead | Keystore, passphrases: Sequence[str]) -> list[str]:
    if not _is_locked(read):
        return _errors(read.findings)
    if passphrases:
        return ["the file is encrypted, and no passphrase matches"]
    return ["the file is encrypted; pass its passphrase with --passphrase-file"]


def _errors(findings: Iterable[Finding]) -> list[str]:
    return [finding.detail for finding in findings if finding.severity == "error"]
