"""The text that people have: how PEM survives editors, shells, JSON and helpful colleagues."""

import base64
from collections.abc import Iterator
from typing import Any

from . import der
from .authority import WWW, intermediate, leaf
from .case import Case, error, info, key_pem, pem, pems, sent
from .keys import ec_key, pkcs8, spki_of

URL = str.maketrans("+/", "-_")


def cases() -> Iterator[Case]:
    yield from _understood()
    yield from _broken()
    yield from _other_things()


def _understood() -> Iterator[Case]:
    usual = pems(leaf(), intermediate().certificate)

    def case(name: str, made: str, body: str, *findings: Any, **more: Any) -> Case:
        return Case(f"pem-{name}", made, sent(body), findings=findings, **more)

    yield case("plain", "A leaf and its intermediate, as RFC 7468 writes them.", usual)
    yield case("crlf", "Line ends of Windows.", usual.replace("\n", "\r\n"))
    yield case("cr", "Line ends of old Macs.", usual.replace("\n", "\r"))
    yield case(
        "mixed-line-ends",
        "A leaf with CRLF, an intermediate with LF.",
        pem(leaf()).replace("\n", "\r\n") + pem(intermediate().certificate),
    )
    yield case(
        "indented",
        "Each line indented by four blanks, as in YAML.",
        "".join(f"    {line}\n" for line in usual.splitlines()),
    )
    yield case(
        "tabs",
        "Each line indented by a tab, and blanks at its end.",
        "".join(f"\t{line}  \n" for line in usual.splitlines()),
    )
    yield case("bom", "A byte order mark before the first line.", "\ufeff" + usual)
    yield case("no-last-newline", "Nothing after the last END.", usual.rstrip("\n"))
    yield case("blank-lines", "A blank line after each line.", usual.replace("\n", "\n\n"))
    yield case(
        "lines-of-76",
        "Lines of 76 characters, as MIME has them.",
        pem(leaf(), width=76) + pem(intermediate().certificate, width=76),
    )
    yield case(
        "one-line",
        "The whole base64 of each in one line.",
        pem(leaf(), width=100_000) + pem(intermediate().certificate, width=100_000),
    )
    yield case(
        "glued",
        "No newline between the END of one and the BEGIN of the next.",
        usual.replace("-----\n-----BEGIN", "----------BEGIN"),
    )
    yield case(
        "flattened",
        "Every newline became a blank, as an unquoted shell variable does it.",
        " ".join(usual.splitlines()),
    )
    yield case(
        "escaped",
        "Newlines escaped twice: a backslash and an n each.",
        usual.replace("\n", "\\n"),
        info("newlines_escaped"),
    )
    yield case(
        "escaped-crlf",
        "CRLF escaped twice.",
        usual.replace("\n", "\\r\\n"),
        info("newlines_escaped"),
    )
    yield case(
        "escaped-thrice",
        "Newlines escaped three times: two backslashes and an n each.",
        usual.replace("\n", "\\\\n"),
        info("newlines_escaped"),
    )
    yield case(
        "quoted-and-escaped",
        "In quotes, newlines escaped twice, as copied from JSON.",
        '"' + usual.replace("\n", "\\n") + '"',
        info("newlines_escaped"),
    )
    text = "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Issuer: CN = a: b\n"
    yield case(
        "openssl-text",
        "What `openssl x509 -text` prints, before each block.",
        text + pem(leaf()) + text + pem(intermediate().certificate),
        info("text_dropped"),
    )
    attributes = (
        "Bag Attributes\n    localKeyID: 01 02 03\nsubject=CN = www.example.com\n\n"
        "issuer=CN = Corpus Intermediate\n\n"
    )
    yield case(
        "bag-attributes",
        "What `openssl pkcs12 -nokeys` prints, before each block.",
        attributes + pem(leaf()) + attributes + pem(intermediate().certificate),
        info("text_dropped"),
    )
    yield case(
        "s-client",
        "What `openssl s_client -showcerts` prints.",
        "CONNECTED(00000003)\n---\nCertificate chain\n 0 s:CN = www.example.com\n"
        + pem(leaf())
        + " 1 s:CN = Corpus Intermediate\n"
        + pem(intermediate().certificate)
        + "---\nServer certificate\nsubject=CN = www.example.com\n",
        info("text_dropped"),
    )
    yield case(
        "comments",
        "Comments of a CA bundle between the blocks, one in Chinese.",
        "# leaf\n" + pem(leaf()) + "\n# 中间证书 =====\n" + pem(intermediate().certificate),
        info("text_dropped"),
    )
    yield case(
        "x509-label",
        "The label «X509 CERTIFICATE», of old software.",
        pem(leaf(), "X509 CERTIFICATE") + pem(intermediate().certificate),
    )
    trust = der.sequence(der.sequence(der.oid("1.3.6.1.5.5.7.3.1")))
    yield case(
        "trusted-label",
        "The label «TRUSTED CERTIFICATE»: OpenSSL's trust settings follow.",
        pem(leaf() + trust, "TRUSTED CERTIFICATE") + pem(intermediate().certificate),
    )
    request = pem(_request(), "CERTIFICATE REQUEST")
    yield case(
        "csr-beside",
        "The request lies beside the certificate.",
        request + usual,
        info("block_ignored"),
        info("text_dropped"),
    )
    parameters = pem(der.octets(b"\x01" * 8), "DH PARAMETERS")
    yield case(
        "dh-parameters-beside",
        "DH parameters at the end, as old servers want them.",
        usual + parameters,
        info("block_ignored"),
        info("text_dropped"),
    )
    yield case(
        "hundred-blocks",
        "A hundred blocks: the usual two, then the intermediate again.",
        usual + pem(intermediate().certificate) * 98,
        *[info("duplicate")] * 98,
    )
    for name, character in (
        ("bom", "\ufeff"),
        ("no-break-space", "\u00a0"),
        ("zero-width-space", "\u200b"),
    ):
        yield case(
            f"{name}-everywhere",
            "Before each line, as editors and web pages leave it.",
            "".join(f"{character}{line}\n" for line in usual.splitlines()),
        )
        yield case(
            f"{name}-in-the-middle",
            "Before the second block alone.",
            character.join((pem(leaf()), pem(intermediate().certificate))),
        )
    yield case(
        "text-on-the-line",
        "An assignment before each BEGIN.",
        usual.replace("-----BEGIN", "SSL_CERT=-----BEGIN"),
        info("text_dropped"),
    )
    yield case(
        "quoted-lines",
        "Each line in quotes, as a program has it.",
        "".join(f'"{line}\\n"\n' for line in usual.splitlines()),
        info("newlines_escaped"),
    )
    commented = "".join(f"# {line}\n" for line in usual.splitlines())
    yield case(
        "commented-out",
        "The same in comments, then in the open.",
        commented + usual,
        info("text_dropped"),
    )
    for name, sentence in (
        ("begin", "To begin the installation you need the certificate and the private key:"),
        ("block", "Do not send -----BEGIN PRIVATE KEY----- or anything behind it."),
        ("upper-case", "BEGIN HERE: YOUR PRIVATE KEY IS NOT IN THIS MAIL"),
    ):
        yield case(
            f"sentence-{name}",
            "A sentence of an authority's mail that has the words of a heading in it.",
            f"{sentence}\n{usual}{sentence}",
            info("text_dropped"),
        )
    yield Case(
        "pem-all-in-chain",
        "Body is the leaf, chain the intermediate, both with CRLF.",
        sent(
            pem(leaf()).replace("\n", "\r\n"),
            chain=pem(intermediate().certificate).replace("\n", "\r\n"),
        ),
    )
    yield Case(
        "pem-chain-escaped",
        "Newlines of chain escaped twice, those of body not.",
        sent(pem(leaf()), chain=pem(intermediate().certificate).replace("\n", "\\n")),
        findings=(info("newlines_escaped", "chain"),),
    )
    yield Case(
        "pem-chain-blank",
        "A chain of nothing but blanks and newlines.",
        sent(usual, chain=" \n\t\n"),
    )
    yield Case(
        "pem-cjk-subject-text",
        "Full-width text and an emoji around the blocks.",
        sent("證書 🔒\n" + usual + "完\n"),
        findings=(info("text_dropped"),),
    )


def _broken() -> Iterator[Case]:
    """Nothing but the leaf was sent, and it cannot be read."""
    one = pem(leaf())
    lines = one.splitlines()

    def case(name: str, made: str, body: str, *findings: Any, chain: str = "") -> Case:
        found = findings or (error("pem_invalid"),)
        return _nothing(f"pem-{name}", made, body, *found, chain=chain)

    yield case("truncated", "Cut after half of the lines.", "\n".join(lines[: len(lines) // 2]))
    yield case("no-end", "The END line is missing.", "\n".join(lines[:-1]))
    yield case("no-begin", "The BEGIN line is missing.", "\n".join(lines[1:]))
    yield case(
        "wrong-end",
        "The END line names another label.",
        one.replace("END CERTIFICATE", "END X509 CERTIFICATE"),
    )
    yield case("four-dashes", "A dash of the BEGIN line was not copied.", one[1:])
    yield case(
        "en-dashes",
        "A word processor made en dashes of the hyphens.",
        one.replace("-----", "–––––"),
    )
    yield case(
        "not-base64",
        "An exclamation mark in the third line.",
        "\n".join([*lines[:3], "!" + lines[3][1:], *lines[4:]]),
    )
    yield case(
        "url-base64",
        "Base64 of URLs: - and _ in place of + and /, which stand in it.",
        pem(b"\x30\x82\xfb\xff\xfe" + leaf()).replace("+", "-_").replace("/", "_"),
    )
    yield case(
        "character-lost",
        "One character of the base64 was lost.",
        "\n".join([*lines[:3], lines[3][1:], *lines[4:]]),
    )
    yield case("line-lost", "A line in the middle was lost.", "\n".join([*lines[:5], *lines[6:]]))
    yield case(
        "line-doubled",
        "A line in the middle stands there twice.",
        "\n".join([*lines[:5], lines[4], *lines[5:]]),
    )
    yield case(
        "line-of-text-within",
        "A sentence within the block.",
        "\n".join([*lines[:5], "-- page 2 --", *lines[5:]]),
    )
    yield case(
        "nul-within",
        "A NUL within the block.",
        "\n".join([*lines[:5], lines[5][:5] + "\0" + lines[5][5:], *lines[6:]]),
    )
    yield case(
        "utf-16",
        "UTF-16 that was read as Latin-1: NULs between all characters.",
        "".join(f"{character}\0" for character in one),
    )
    yield case(
        "empty-block",
        "BEGIN and END, and nothing between.",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    )
    yield case("text-block", "A block whose base64 is a sentence.", pem(b"This is no certificate."))
    yield case(
        "nested",
        "A block begins within a block; the inner one is whole.",
        "\n".join(lines[:3]) + "\n" + "-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----\n",
        error("pem_invalid"),
        info("block_ignored"),
    )
    yield case(
        "trailing-bytes",
        "Four bytes follow the certificate, within its block.",
        pem(leaf() + b"\0\0\0\0"),
    )
    yield case(
        "two-in-a-block",
        "Leaf and intermediate, concatenated as DER, in one block.",
        pem(leaf() + intermediate().certificate),
    )
    yield case(
        "both-ends-wrong",
        "Two broken blocks: all that is wrong is said at once.",
        "\n".join(lines[:4]) + "\n" + one.replace("END CERTIFICATE", "END CERT"),
        error("pem_invalid"),
        error("pem_invalid"),
    )
    yield case(
        "101-blocks",
        "A hundred and one blocks of text: the first hundred findings, and how many more.",
        pem(b"no") * 101,
        *[error("pem_invalid")] * 100,
        error("more_findings"),
    )
    yield case(
        "chain-broken",
        "Body is no certificate, and the chain is cut.",
        "certificate.pem",
        error("pem_invalid"),
        error("pem_invalid", "chain"),
        chain="\n".join(pem(intermediate().certificate).splitlines()[:4]),
    )
    yield Case(
        "pem-second-broken",
        "The intermediate is cut; the leaf is whole.",
        sent(one + "\n".join(pem(intermediate().certificate).splitlines()[:4])),
        findings=(error("pem_invalid"), error("chain_incomplete")),
        trust="incomplete",
        served=1,
    )
    yield Case(
        "pem-too-many-after-the-usual",
        "The usual two, then 99 blocks of a request.",
        sent(one + pem(intermediate().certificate) + pem(_request(), "CERTIFICATE REQUEST") * 99),
        findings=(error("pem_invalid"), info("block_ignored"), info("text_dropped")),
    )


def _other_things() -> Iterator[Case]:
    """The upload is of another kind."""
    yield _nothing("pem-empty", "An empty body.", "")
    yield _nothing("pem-blank", "A body of blanks and newlines.", " \n \t\r\n")
    yield _nothing("pem-text", "The name of a file in place of its content.", "/etc/ssl/my.crt")
    yield _nothing(
        "pem-json",
        "The certificate within a JSON document.",
        '{"certificate": "' + base64.b64encode(leaf()).decode() + '"}',
    )
    yield _nothing(
        "pem-html",
        "The page of somebody's login, from a download that failed.",
        "<!DOCTYPE html><html><head><title>Sign in</title></head><body></body></html>",
    )
    yield _nothing("pem-der", "DER, read as Latin-1.", leaf().decode("latin-1"))
    yield _nothing(
        "pem-der-utf-8", "DER, read as UTF-8 with replacements.", leaf().decode("utf-8", "replace")
    )
    yield _nothing(
        "pem-base64-of-der", "Base64 without BEGIN and END.", base64.encodebytes(leaf()).decode()
    )
    yield _nothing(
        "pem-base64-of-pem",
        "Base64 of the PEM text, as for the key.",
        base64.b64encode(pem(leaf()).encode()).decode(),
    )
    yield _nothing(
        "pem-csr",
        "A certificate request.",
        pem(_request(), "CERTIFICATE REQUEST"),
        error("pem_invalid"),
        info("block_ignored"),
    )
    yield _nothing(
        "pem-new-csr",
        "A certificate request, with the label of old Windows.",
        pem(_request(), "NEW CERTIFICATE REQUEST"),
        error("pem_invalid"),
        info("block_ignored"),
    )
    yield _nothing(
        "pem-pkcs7",
        "PKCS#7 with leaf and intermediate in it.",
        pem(_pkcs7(leaf(), intermediate().certificate), "PKCS7"),
        error("pem_invalid"),
        info("block_ignored"),
    )
    yield _nothing(
        "pem-crl",
        "A revocation list's label.",
        pem(der.sequence(), "X509 CRL"),
        error("pem_invalid"),
        info("block_ignored"),
    )
    yield _nothing(
        "pem-public-key",
        "A public key in place of the certificate.",
        pem(spki_of(ec_key(WWW)), "PUBLIC KEY"),
        error("pem_invalid"),
        info("block_ignored"),
    )
    yield _nothing(
        "pem-key-only",
        "The private key in place of the certificate.",
        key_pem().decode(),
        error("pem_invalid"),
        error("key_in_body"),
    )
    usual = pems(leaf(), intermediate().certificate)
    yield Case(
        "pem-key-beside",
        "The private key behind the certificates, in body.",
        sent(usual + key_pem().decode()),
        findings=(error("key_in_body"),),
    )
    yield Case(
        "pem-encrypted-key-beside",
        "A block «ENCRYPTED PRIVATE KEY» before the leaf.",
        sent(pem(pkcs8(ec_key(WWW)), "ENCRYPTED PRIVATE KEY") + usual),
        findings=(error("key_in_body"),),
    )
    yield Case(
        "pem-key-in-chain",
        "The private key in chain.",
        sent(pem(leaf()), chain=key_pem().decode() + pem(intermediate().certificate)),
        findings=(error("key_in_body", "chain"),),
    )
    yield Case(
        "pem-key-escaped",
        "Certificates and key, newlines escaped twice.",
        sent((usual + key_pem().decode()).replace("\n", "\\n")),
        findings=(error("key_in_body"), info("newlines_escaped")),
    )
    shown = (error("key_in_body"),)
    for title, made, text in (
        ("dashes", "four dashes", key_pem().decode().replace("-----", "----")),
        ("case", "lower case", key_pem().decode().lower()),
        ("no-heading", "no heading", "".join(key_pem().decode().splitlines(True)[1:-1])),
    ):
        yield Case(
            f"pem-key-mangled-{title}",
            f"A private key behind the certificates, its heading mangled: {made}.",
            sent(usual + text),
            findings=shown,
        )
    key = key_pem().decode()
    for title, made, text in (
        ("commented", "in comments", "".join(f"# {line}\n" for line in key.splitlines())),
        ("flattened", "without heading, in one line", " ".join(key.splitlines()[1:-1])),
        ("after-text", "behind a word", f"key: {''.join(key.splitlines()[1:-1])}"),
        ("url-safe", "without heading, URL-safe", "".join(key.splitlines()[1:-1]).translate(URL)),
        ("invisible", "with zero-width spaces", "\u200b".join(key.splitlines(True))),
        ("truncated", "its end cut off", key[:-60]),
    ):
        yield Case(
            f"pem-key-{title}",
            f"A private key behind the certificates, {made}.",
            sent(usual + text),
            findings=(*shown, error("pem_invalid")) if title == "truncated" else shown,
        )
    yield Case(
        "pem-key-as-certificate",
        "The private key in a block «CERTIFICATE».",
        sent(usual + pem(pkcs8(ec_key(WWW)))),
        findings=(*shown, error("pem_invalid")),
    )
    yield _nothing(
        "pem-key-in-base64",
        "Certificates and key, in base64 once more.",
        base64.b64encode((usual + key_pem().decode()).encode()).decode(),
        *shown,
        error("pem_invalid"),
    )
    yield Case(
        "pem-leaf-in-chain",
        "Leaf and intermediate in chain, and nothing in body.",
        sent("", chain=usual),
        findings=(error("pem_invalid"),),
    )


def _nothing(name: str, made: str, body: str, *findings: Any, chain: str = "") -> Case:
    return Case(
        name,
        made,
        sent(body, chain=chain),
        findings=findings or (error("pem_invalid"),),
        trust="unreadable",
        hostnames=(),
        served=0,
    )


def _request() -> bytes:
    """A certificate request, not signed by anybody."""
    return der.sequence(
        der.sequence(der.integer(0), der.sequence(), spki_of(ec_key(WWW)), der.tagged(0)),
        der.sequence(der.oid("1.2.840.10045.4.3.2")),
        der.bits(b""),
    )


def _pkcs7(*certificates: bytes) -> bytes:
    """Certificates only, RFC 5652, 5.1, in its degenerate case."""
    signed = der.sequence(
        der.integer(1),
        der.element(der.SET),
        der.sequence(der.oid("1.2.840.113549.1.7.1")),
        der.tagged(0, *certificates),
        der.element(der.SET),
    )
    return der.sequence(der.oid("1.2.840.113549.1.7.2"), der.tagged(0, signed))
