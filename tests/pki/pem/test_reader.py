import base64
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from customer_certificates.pki.keys.exposed_keys import has_private_key
from customer_certificates.pki.pem.reader import read_pem

from .. import made_by_openssl as made

CERTIFICATE = made.CERTIFICATE
DER = base64.b64decode("".join(CERTIFICATE.splitlines()[1:-1]))


def details(text: str) -> list[str]:
    return [finding.detail for finding in read_pem(text, "body").findings]


@pytest.mark.parametrize(
    "text",
    [
        CERTIFICATE,
        CERTIFICATE.strip(),
        CERTIFICATE.replace("\n", "\r\n"),
        CERTIFICATE.replace("\n", "\r"),
        CERTIFICATE.replace("\n", " \t\n  "),
        CERTIFICATE.replace("\n", " "),
        CERTIFICATE.replace("CERTIFICATE", "X509 CERTIFICATE"),
        made.TRUSTED_CERTIFICATE,
        f"\ufeff{CERTIFICATE}",
        f"Bag Attributes\n    localKeyID: 01\nsubject=CN=a\n{CERTIFICATE}# the end",
        f"# put -----BEGIN CERTIFICATE----- here\n{CERTIFICATE}",
        f'"{CERTIFICATE.strip()}"',
        # Characters that do not show, before, between and within blocks.
        f"\u200b{CERTIFICATE}\ufeff",
        f"\u00a0{CERTIFICATE}",
        CERTIFICATE.replace("\n", "\n\u00a0\u00a0"),
        CERTIFICATE.replace("\n", "\u200b\n\ufeff"),
        CERTIFICATE.replace("BEGIN ", "BEGIN\u00a0"),
        CERTIFICATE.replace("\n", "\u2028"),
        CERTIFICATE.replace("-----\nM", "-----\n\u00adM"),
        # No line of its own.
        f"the certificate:{CERTIFICATE}",
        f"TLS_CERT={CERTIFICATE}",
        f"cert: {CERTIFICATE.replace(chr(10), ' ')}",
        f"    {CERTIFICATE.replace(chr(10), chr(10) + '    ')}",
        # In quotes, whole or line by line.
        f"cert = '''{CERTIFICATE}'''",
        f"`{CERTIFICATE}`",
        "".join(f'"{line}"\n' for line in CERTIFICATE.splitlines()),
        f"\u201c{CERTIFICATE}\u201d",
        # Sentences and comments about blocks.
        f"# -----BEGIN CERTIFICATE-----\n# MIIC\n# -----END CERTIFICATE-----\n{CERTIFICATE}",
        f"all from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----:\n{CERTIFICATE}",
        f"It starts with -----BEGIN CERTIFICATE-----\nand ends with -----END CERTIFICATE-----.\n"
        f"{CERTIFICATE}",
        f"{CERTIFICATE}; that was -----END CERTIFICATE-----",
    ],
)
def test_common_forms_of_pem_are_read(text: str) -> None:
    read = read_pem(text, "body")

    assert [block.der for block in read.blocks] == [DER]
    assert read.findings == ()


def test_blocks_keep_their_order() -> None:
    read = read_pem(f"{made.KEY}and\n{CERTIFICATE}{CERTIFICATE.strip()}{made.REQUEST}", "body")

    assert [block.label for block in read.blocks] == [
        "EC PRIVATE KEY",
        "CERTIFICATE",
        "CERTIFICATE",
        "CERTIFICATE REQUEST",
    ]
    assert read.findings == ()


@pytest.mark.parametrize(
    "between",
    ["", " ", "\r", "\ufeff", "\u200b", "\u00a0\n", "# key: ", "\n\tkey=", '"\n,"', "and "],
)
@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n", " ", "\n    "])
def test_a_block_may_begin_on_the_line_of_the_previous_end(between: str, newline: str) -> None:
    text = f"{CERTIFICATE.strip()}{between}{made.KEY.strip()}{between}{CERTIFICATE.strip()}"

    read = read_pem(text.replace("\n", newline), "body")

    assert [block.label for block in read.blocks] == [
        "CERTIFICATE",
        "EC PRIVATE KEY",
        "CERTIFICATE",
    ]
    assert read.findings == ()


@pytest.mark.parametrize("prefix", ["", "    ", "\t", "\u00a0", '"'])
@pytest.mark.parametrize(
    "blank", ["\n\n", "\n", "\n   \n", "\n\t\n", "\n\u00a0\n", "\n\n\n", " ", "\r\r"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", " "])
def test_encryption_headers_end_with_the_base64(prefix: str, blank: str, newline: str) -> None:
    headers = {
        "Proc-Type": "4,ENCRYPTED",
        "DEK-Info": "AES-256-CBC,0C78B7D52C1B08D01824EDF8016391C6",
    }
    head = [f"{name}: {value}" for name, value in headers.items()]
    marked = "-----BEGIN RSA PRIVATE KEY-----", *head
    content = base64.b64encode(DER).decode(), "-----END RSA PRIVATE KEY-----"
    text = blank.join(f"\n{prefix}".join(part) for part in (marked, content))

    (block,) = read_pem(f"{prefix}{text}".replace("\n", newline), "body").blocks

    assert block.der == DER
    assert dict(block.headers) == headers


def test_a_block_is_encoded_unchanged() -> None:
    old = CERTIFICATE.replace("-----\nM", "-----\nProc-Type: 4,ENCRYPTED\n\nM")

    for text in (CERTIFICATE, made.KEY, old):
        (block,) = read_pem(text, "body").blocks
        assert block.to_pem() == text


@pytest.mark.parametrize("newline", [r"\n", r"\r\n", r"\\n", r"\r"])
def test_newlines_escaped_twice_are_read(newline: str) -> None:
    read = read_pem(CERTIFICATE.replace("\n", newline), "body")

    assert [block.der for block in read.blocks] == [DER]
    assert [(one.code, one.severity) for one in read.findings] == [("newlines_escaped", "info")]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (CERTIFICATE[:300], "(«CERTIFICATE», line 1) has no END line."),
        (CERTIFICATE[50:], "(«CERTIFICATE», line 9) has no BEGIN line."),
        (
            CERTIFICATE.replace("END CERT", "END Cert"),
            "has another label in its END line: END CertIFICATE, line 10.",
        ),
        ("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----", "is empty."),
        (CERTIFICATE.replace("M", "…", 1), "is not base64: it contains the character «…»."),
        (CERTIFICATE.replace("M", "", 1), "characters are missing or were added at its end."),
        (
            "-----BEGIN TRUSTED CERTIFICATE-----\nMIIC\n-----END TRUSTED CERTIFICATE-----",
            "contains no certificate: it ends too early.",
        ),
    ],
)
def test_a_broken_block_is_named_and_the_others_are_read(text: str, what: str) -> None:
    read = read_pem(f"{text}\n{CERTIFICATE}", "body")

    assert [block.der for block in read.blocks] == [DER]
    (finding,) = read.findings
    assert (finding.code, finding.field, finding.severity) == ("pem_invalid", "body", "error")
    assert finding.detail.startswith("Block 1 of body")
    assert what in finding.detail


def test_every_broken_block_is_named() -> None:
    broken = CERTIFICATE.replace("M", "!", 1)

    assert [detail[:15] for detail in details(broken + CERTIFICATE + broken)] == [
        "Block 1 of body",
        "Block 3 of body",
    ]


def test_a_hundred_blocks_are_read() -> None:
    read = read_pem(CERTIFICATE * 102, "chain")

    assert len(read.blocks) == 100
    assert [one.detail for one in read.findings] == [
        "chain has more than 100 PEM blocks. The service ignored the rest."
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "body is empty."),
        (" \r\n", "body is empty."),
        ("my certificate", "body contains no PEM block."),
        (made.REQUEST, "body is a certificate request (CSR), not a certificate."),
        (made.PKCS7, "body is PKCS#7, which is not supported here."),
        (
            made.PKCS7.replace("PKCS7", "PKCS #7 SIGNED DATA"),
            "body is PKCS#7, which is not supported here.",
        ),
        (made.KEY, "body is a private key, not a certificate."),
        (base64.b64encode(DER).decode(), "base64 of DER, without BEGIN and END lines."),
        (base64.b64encode(CERTIFICATE.encode()).decode(), "body is base64 of PEM."),
        (DER.decode("latin-1"), "body looks like DER"),
        (DER.decode("utf-8", "replace"), "body looks like DER"),
        (
            CERTIFICATE.replace("CERTIFICATE", "DH PARAMETERS"),
            "body contains no certificate, but «DH PARAMETERS».",
        ),
    ],
)
def test_a_text_without_a_certificate_is_identified(text: str, what: str) -> None:
    (finding,) = read_pem(text, "body").findings

    assert finding.code == "pem_invalid"
    assert what in finding.detail
    assert finding.hint


BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    "part",
    [
        "-",
        "-----BEGIN ",
        "-----BEGIN A" * 4 + "-----",
        "-----BEGIN -----BEGIN X-----",
        f"{BEGIN}\n",
        f"{BEGIN} ",
        f"{END}\n",
        f"{END} ",
        f"{BEGIN}MIIC{END}",
        f"a {BEGIN} b {END} ",
        f"{BEGIN}\nA: b\n",
        "A: b\n",
        "Proc-Type: ",
        "DEK-Info: a ",
        "a",
        " ",
        "\t\n",
        '"',
        "\\",
        "\\r\\",
        "\\n",
        "\u200b",
        "\u00a0",
        "\r",
        "\u2028",
        "begin private key ",
        "A" * 20 + " ",
        "-----BEGIN PRIVATE KEY----- of",
        "xbegin private key",
        "dek-info:" + "A" * 30 + " ",
        "M" * 16,
        "M" * 16 + " ",
        "M" * 16 + "==",
        "0123456789abcdef",
    ],
)
@pytest.mark.parametrize("head", ["", f"{BEGIN}\nProc-Type: 4,ENCRYPTED\n"])
def test_reading_takes_linear_time(part: str, head: str) -> None:
    # A quadratic reader needs 64 times as long for a text of eight times the length.

    def seconds(octets: int) -> float:
        text = head + part * (octets // len(part)) + "\n"

        def once() -> float:
            before = process_time()
            has_private_key(read_pem(text, "body"), ())
            return process_time() - before

        return min(once() for _ in range(2))

    assert seconds(64 * 1024) < 24 * seconds(8 * 1024) + 0.005


@settings(max_examples=50)
@given(st.text())
def test_any_text_gives_blocks_or_findings(text: str) -> None:
    assert read_pem(text, "body").findings


@settings(max_examples=100)
@given(st.integers(0, len(CERTIFICATE) - 1), st.integers(0, 40), st.text(max_size=3))
def test_a_mutated_certificate_gives_blocks_or_findings(at: int, removed: int, added: str) -> None:
    read = read_pem(CERTIFICATE[:at] + added + CERTIFICATE[at + removed :], "body")

    assert read.blocks or read.findings
