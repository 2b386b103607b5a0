"""Reads text with PEM blocks (RFC 7468, RFC 1421), tolerating common mistakes."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...errors import Finding
from ..asn1 import ber
from ..text import listed, shown
from .markers import QUOTES, Mark, is_pem, marks, plain_text

MOST_BLOCKS = 100
CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
PKCS7_LABELS = ("PKCS7", "CMS", "PKCS #7 SIGNED DATA")

# The two headers of encrypted keys contain no blanks. Other text may follow on the same line.
_HEADER = re.compile(
    r"[\s\"'`]*+"
    r"(?:(?P<known>Proc-Type|DEK-Info):[ \t]*+(?P<value>[^\s\"'`]+)|[A-Za-z0-9-]{1,64}:[^\n]*)"
)
_WITHOUT_QUOTES = dict.fromkeys(map(ord, QUOTES))
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")
_COPY = "Copy the whole file without changes, including its -----BEGIN and -----END lines."
_SEND_PEM = "Send the certificate as your CA gave it to you, in PEM: -----BEGIN CERTIFICATE-----."


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block: its label, its DER, and its encryption headers (RFC 1421, 4.6)."""

    label: str
    der: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def to_pem(self) -> str:
        """Returns the block in the format of RFC 7468 and RFC 1421."""
        text = base64.b64encode(self.der).decode()
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        head = [f"{name}: {value}" for name, value in self.headers]
        marked = [f"-----BEGIN {self.label}-----", *head, *([""] if head else [])]
        return "\n".join([*marked, *lines, f"-----END {self.label}-----", ""])


@dataclass(frozen=True, slots=True)
class PemRead:
    """The readable blocks in their order, and the findings.

    `broken` are the labels of unreadable blocks. `other_text` is the text without the readable
    blocks.
    """

    blocks: tuple[Block, ...]
    findings: tuple[Finding, ...]
    broken: tuple[str, ...] = ()
    other_text: str = ""

    @property
    def has_other_text(self) -> bool:
        """Whether `other_text` has more than blanks and quotes."""
        return bool(self.other_text.translate(_WITHOUT_QUOTES).strip())


def read_pem(text: str, field: str) -> PemRead:
    """Returns the blocks in `text`, which should contain certificates. Never raises.

    Accepts any line ends, indentation, quotes, invisible characters, text around the blocks, and
    newlines escaped twice (finding `newlines_escaped`). `pem_invalid` reports each malformed block,
    and a text without a certificate. At most 100 blocks are read. A TRUSTED CERTIFICATE is reduced
    to the certificate in it. Findings name the text by `field`.
    """
    read = read_blocks(text, field)
    has_certificate = any(block.label in CERTIFICATE_LABELS for block in read.blocks)
    if has_certificate or any(finding.severity == "error" for finding in read.findings):
        return read
    return replace(read, findings=(*read.findings, _no_certificate(text, read.blocks, field)))


def read_blocks(text: str, field: str) -> PemRead:
    """Does the same as `read_pem` for a text that need not contain a certificate."""
    text, is_escaped = plain_text(text)
    findings = [_newlines_escaped(field)] if is_escaped else []
    blocks, broken, other_text = list[Block](), list[str](), list[str]()
    number = end_of_block = 0
    for mark, end in _pairs(text):
        if number < MOST_BLOCKS:
            number += 1
        elif mark.is_begin:
            findings.append(_too_many(field))
            break
        else:
            continue
        block = _between(mark, end, text)
        if isinstance(block, str):
            place = f"Block {number} of {field} («{shown(mark.label)}», line {mark.line})"
            findings.append(Finding("pem_invalid", field, f"{place} {block}", _COPY))
            broken.append(mark.label)
        else:
            blocks.append(block)
            other_text.append(text[end_of_block : mark.start])
            end_of_block = end.end if end else mark.end
    other_text.append(text[end_of_block:])
    return PemRead(tuple(blocks), tuple(findings), tuple(broken), "\n".join(other_text))


def _pairs(text: str) -> Iterator[tuple[Mark, Mark | None]]:
    """Yields each BEGIN with its END, or with None; and each END without a BEGIN, with None."""
    begin: Mark | None = None
    for mark in marks(text):
        if not mark.is_begin:
            yield (begin, mark) if begin else (mark, None)
            begin = None
            continue
        if begin:
            yield begin, None
        begin = mark
    if begin:
        yield begin, None


def _between(mark: Mark, end: Mark | None, text: str) -> Block | str:
    """Returns the block between two marks, or a description of its fault."""
    if end is None:
        return "has no END line." if mark.is_begin else "has no BEGIN line."
    if mark.label != end.label:
        return f"has another label in its END line: END {shown(end.label)}, line {end.line}."
    return _block(mark.label, text[mark.end : end.start])


def _block(label: str, content: str) -> Block | str:
    headers, content = _headers(content)
    # Lost newlines become blanks between words.
    encoded = "".join(content.split())
    invalid = _NOT_BASE64.search(encoded)
    if invalid and invalid[0] in QUOTES:
        encoded = encoded.translate(_WITHOUT_QUOTES)
        invalid = _NOT_BASE64.search(encoded)
    if not encoded:
        return "is empty."
    if invalid:
        return f"is not base64: it contains the character «{shown(invalid[0])}»."
    try:
        der = base64.b64decode(encoded, validate=True)
        if label == "TRUSTED CERTIFICATE":
            # OpenSSL appends the trusted purposes to the certificate.
            der = bytes(ber.first(der).encoded)
    except binascii.Error:
        return "is not base64: characters are missing or were added at its end."
    except ber.NotBer as error:
        return f"contains no certificate: {error}."
    return Block(label, der, headers)


def _headers(content: str) -> tuple[tuple[tuple[str, str], ...], str]:
    """Returns the encryption headers at the top of a block, and the content below them.

    The blank line between them may be missing.
    """
    if ":" not in content:
        return (), content
    headers: list[tuple[str, str]] = []
    at = 0
    while header := _HEADER.match(content, at):
        if header["known"]:
            headers.append((header["known"], header["value"]))
        at = header.end()
    return tuple(headers), content[at:]


def _newlines_escaped(field: str) -> Finding:
    detail = f"The newlines of {field} were escaped twice. The service read them as newlines."
    hint = (
        "Create the request with a JSON library, from the unchanged file. The library escapes"
        " newlines once."
    )
    return Finding("newlines_escaped", field, detail, hint, "info")


def _too_many(field: str) -> Finding:
    detail = f"{field} has more than {MOST_BLOCKS} PEM blocks. The service ignored the rest."
    hint = "Send one certificate and its intermediates, not a whole trust store."
    return Finding("pem_invalid", field, detail, hint)


def _no_certificate(text: str, blocks: tuple[Block, ...], field: str) -> Finding:
    labels = list(dict.fromkeys(block.label for block in blocks))
    detail, hint = f"{field} contains no PEM block.", _SEND_PEM
    if any(label.endswith("CERTIFICATE REQUEST") for label in labels):
        detail = f"{field} is a certificate request (CSR), not a certificate."
        hint = "Send the certificate that your CA issued for this request."
    elif any(label in PKCS7_LABELS for label in labels):
        detail = f"{field} is PKCS#7, which is not supported here."
        hint = "Extract the certificates: openssl pkcs7 -in chain.p7b -print_certs -out chain.pem"
    elif any(label.endswith("PRIVATE KEY") for label in labels):
        detail = f"{field} is a private key, not a certificate."
        hint = "Send the certificate here, and the key as base64 in private_key."
    elif labels:
        detail = f"{field} contains no certificate, but {listed(labels)}."
    elif not text.strip():
        detail = f"{field} is empty."
    else:
        detail, hint = _unmarked(text, field) or (detail, hint)
    return Finding("pem_invalid", field, detail, hint)


def _unmarked(text: str, field: str) -> tuple[str, str] | None:
    """Returns detail and hint for a text without blocks, or None if it is unknown."""
    if text.lstrip().startswith("0\x82") or text.startswith("0\ufffd"):
        return (
            f"{field} looks like DER, a binary format that cannot be sent as text.",
            "Convert it: openssl x509 -inform der -in cert.der -out cert.pem",
        )
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None
    if is_pem(decoded):
        return (
            f"{field} is base64 of PEM.",
            f"Send {field} as PEM text. Only private_key and pkcs12 are in base64.",
        )
    if decoded[:1] == b"\x30":
        return (
            f"{field} looks like base64 of DER, without BEGIN and END lines.",
            "Add the line -----BEGIN CERTIFICATE----- above and -----END CERTIFICATE----- below,"
            " or run: openssl x509 -inform der -in cert.der -out cert.pem",
        )
    return None
