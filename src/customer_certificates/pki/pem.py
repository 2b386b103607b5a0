"""Text with PEM blocks in it (RFC 7468, RFC 1421), as people really have it."""

import base64
import binascii
import re
from dataclasses import dataclass

from ..errors import Finding
from . import ber
from .wording import listed, shown

MOST_BLOCKS = 100
CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE")

# It begins with what is found fast, and is matched in linear time, whatever the text.
_MARK = re.compile(r"-----(?:(?P<begin>BEGIN)|END) (?P<label>[^\n-]{1,64})-----")
_ESCAPED_NEWLINE = re.compile(r"(?:\\+r)?\\+n|\\+r")
_ESCAPED_IN_A_BLOCK = re.compile(r"-----BEGIN [^\n-]{1,64}-----[ \t]*\\+[rn]")
_HEADER = re.compile(r"\s*([A-Za-z0-9-]{1,64}):\s*(.*)")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")
_COPY = "Copy the file whole, from its -----BEGIN to its -----END lines, unchanged."
_WANTED = (
    "Send the certificate as its authority gave it to you, in PEM: -----BEGIN CERTIFICATE-----."
)


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block: its label, its DER, and its headers (RFC 1421, 4.6), names in upper case."""

    label: str
    der: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PemRead:
    """The blocks that could be read, in the order in which they stand, and what was wrong."""

    blocks: tuple[Block, ...]
    findings: tuple[Finding, ...]


def read_pem(text: str, field: str) -> PemRead:
    """The blocks in `text`, which should hold certificates; never raises.

    Understood are any line ends, indentation, text around the blocks, and newlines escaped twice
    (finding `newlines_escaped`). `pem_invalid` is found of each block that is broken, and of a
    text that has no certificate in it; at most 100 blocks are read. A TRUSTED CERTIFICATE is cut
    down to the certificate in it. `field` is what findings call the text.
    """
    read = read_blocks(text, field)
    has_certificate = any(block.label in CERTIFICATE_LABELS for block in read.blocks)
    if has_certificate or any(finding.severity == "error" for finding in read.findings):
        return read
    return PemRead(read.blocks, (*read.findings, _no_certificate(text, read.blocks, field)))


def read_blocks(text: str, field: str) -> PemRead:
    """As `read_pem`, of a text that need not hold a certificate, or anything."""
    findings: list[Finding] = []
    if _ESCAPED_IN_A_BLOCK.search(text):
        text = _ESCAPED_NEWLINE.sub("\n", text)
        findings.append(_newlines_escaped(field))
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    blocks: list[Block] = []
    number, line, counted = 0, 1, 0
    opened: tuple[str, int, int] | None = None  # label, line, start of content

    def broken(label: str, at_line: int, what: str) -> None:
        findings.append(
            Finding(
                "pem_invalid",
                field,
                f"Block {number} of {field} («{shown(label)}», line {at_line}) {what}",
                _COPY,
            )
        )

    for mark in _MARK.finditer(text):
        line += text.count("\n", counted, mark.start())
        counted = mark.start()
        label = mark["label"]
        if mark["begin"]:
            if not _counts(text, mark.start()):
                continue
            if opened:
                broken(*opened[:2], "has no END line.")
            if number == MOST_BLOCKS:
                findings.append(_too_many(field))
                opened = None
                break
            number += 1
            opened = label, line, mark.end()
        elif opened:
            if opened[0] == label:
                block = _block(label, text[opened[2] : mark.start()])
                if isinstance(block, Block):
                    blocks.append(block)
                else:
                    broken(*opened[:2], block)
            else:
                broken(*opened[:2], f"ends as another: END {shown(label)}, line {line}.")
            opened = None
        elif number < MOST_BLOCKS:
            number += 1
            broken(label, line, "has no BEGIN line.")
    if opened:
        broken(*opened[:2], "has no END line.")
    return PemRead(tuple(blocks), tuple(findings))


def _counts(text: str, at: int) -> bool:
    """Whether a BEGIN counts that stands `at`: at the start of a line, in quotes, or right behind
    an END. Scripts and comments have it elsewhere."""
    while at and text[at - 1] in " \t":
        at -= 1
    return not at or text[at - 1] in "\n\"'" or text.endswith("-----", 0, at)


def _block(label: str, content: str) -> Block | str:
    """The block that was found, or what is wrong with it."""
    headers, content = _headers(content)
    # The blanks between words are what became of lost newlines.
    encoded = "".join(content.split())
    if not encoded:
        return "is empty."
    if stranger := _NOT_BASE64.search(encoded):
        return f"is not base64: it has the character «{shown(stranger[0])}» in it."
    try:
        der = base64.b64decode(encoded, validate=True)
        if label == "TRUSTED CERTIFICATE":
            # OpenSSL writes what it trusts the certificate for behind it.
            der = bytes(ber.first(der).encoded)
    except binascii.Error:
        return "is not base64: something is missing, or was added, at its end."
    except ber.NotBer as error:
        return f"holds no certificate: {error}."
    return Block(label, der, headers)


def _headers(content: str) -> tuple[tuple[tuple[str, str], ...], str]:
    if ":" not in content:
        return (), content
    head, _, rest = content.lstrip("\n").partition("\n\n")
    found = [match for line in head.split("\n") if (match := _HEADER.fullmatch(line))]
    return tuple((match[1].upper(), match[2].strip()) for match in found), rest


def _newlines_escaped(field: str) -> Finding:
    return Finding(
        "newlines_escaped",
        field,
        f"The newlines of {field} were escaped twice; they were taken for newlines.",
        "Let a JSON library write the request, from the file as it is; it escapes newlines once.",
        "info",
    )


def _too_many(field: str) -> Finding:
    return Finding(
        "pem_invalid",
        field,
        f"{field} has more than {MOST_BLOCKS} PEM blocks; the rest was not read.",
        "Send one certificate and the intermediates above it, not a whole store.",
    )


def _no_certificate(text: str, blocks: tuple[Block, ...], field: str) -> Finding:
    labels = list(dict.fromkeys(block.label for block in blocks))
    detail, hint = f"{field} has no PEM block in it.", _WANTED
    if any(label.endswith("CERTIFICATE REQUEST") for label in labels):
        detail = f"{field} is a certificate request (CSR), not a certificate."
        hint = "Send what the authority answered the request with."
    elif "PKCS7" in labels or "CMS" in labels:
        detail = f"{field} is PKCS#7, which is not read."
        hint = "Take the certificates out: openssl pkcs7 -in chain.p7b -print_certs -out chain.pem"
    elif any(label.endswith("PRIVATE KEY") for label in labels):
        detail = f"{field} is a private key, not a certificate."
        hint = "Send the certificate here, and the key as base64 in private_key."
    elif labels:
        detail = f"{field} has no certificate in it, but {listed(labels)}."
    elif not text.strip():
        detail = f"{field} is empty."
    else:
        detail, hint = _unarmoured(text, field) or (detail, hint)
    return Finding("pem_invalid", field, detail, hint)


def _unarmoured(text: str, field: str) -> tuple[str, str] | None:
    """What a text without any block is, where that can be told, and what to do."""
    if text.lstrip().startswith("0\x82") or text.startswith("0\ufffd"):
        return (
            f"{field} looks like DER, which is binary and does not survive as text.",
            "Convert it: openssl x509 -inform der -in cert.der -out cert.pem",
        )
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None
    if b"-----BEGIN " in decoded:
        return (
            f"{field} is base64 of PEM.",
            f"Send {field} as the PEM text itself; only private_key and pkcs12 are in base64.",
        )
    if decoded[:1] == b"\x30":
        return (
            f"{field} looks like base64 of DER, without BEGIN and END lines.",
            "Put -----BEGIN CERTIFICATE----- in a line above it and -----END CERTIFICATE----- below"
            ", or: openssl x509 -inform der -in cert.der -out cert.pem",
        )
    return None
