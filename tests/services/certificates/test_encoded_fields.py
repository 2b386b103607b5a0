"""How the files in an upload's fields are decoded."""

import base64
from collections.abc import Callable

import pytest

from customer_certificates.services.certificates.requests.encoded_fields import decode_field

# Bytes whose base64 has every kind of character in it, and needs padding.
FILE = bytes(range(256)) + b"\xfb\xff\xfe\xff"
PEM = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(FILE) + b"-----END PRIVATE KEY-----\n"


def standard(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def codes(text: str) -> list[tuple[str, str, str]]:
    _, findings = decode_field(text, "private_key")
    return [(one.code, one.severity, one.field) for one in findings]


@pytest.mark.parametrize("file", [FILE, FILE[:-1], FILE[:-2], PEM, b"\0"])
def test_standard_base64_says_nothing(file: bytes) -> None:
    assert decode_field(standard(file), "private_key") == (file, ())


@pytest.mark.parametrize("file", [FILE, FILE[:-1], FILE[:-2], PEM, PEM[:-1]])
@pytest.mark.parametrize(
    "written",
    [
        lambda file: base64.encodebytes(file).decode(),
        lambda file: base64.encodebytes(file).decode().replace("\n", "\r\n"),
        lambda file: base64.encodebytes(file).decode().replace("\n", "\r"),
        lambda file: base64.encodebytes(file).decode().replace("\n", "\\n"),
        lambda file: base64.encodebytes(file).decode().replace("\n", "\\\\r\\\\n"),
        lambda file: base64.encodebytes(file).decode().replace("\n", "\n    "),
        lambda file: f"\n{standard(file)}\n",
        lambda file: f"\ufeff{standard(file)}\u00a0",
        lambda file: f'"{standard(file)}"',
        lambda file: url_safe(file) + "\n",
        lambda file: url_safe(file).rstrip("=") + " ",
        lambda file: " " + standard(file).rstrip("="),
    ],
)
def test_other_base64_is_decoded_and_said(file: bytes, written: Callable[[bytes], str]) -> None:
    text = written(file)

    assert decode_field(text, "private_key")[0] == file
    assert codes(text) == [("base64_unusual", "info", "private_key")]


@pytest.mark.parametrize("text", [url_safe(FILE), url_safe(FILE).rstrip("="), standard(FILE)[:-1]])
def test_each_deviation_alone_is_said(text: str) -> None:
    assert decode_field(text, "pkcs12")[0] == FILE
    assert codes(text) == [("base64_unusual", "info", "private_key")]


@pytest.mark.parametrize(
    "text",
    [PEM.decode(), f"\ufeff{PEM.decode()}", PEM.decode().replace("\n", "\\n"), f"key: {PEM!r}"],
)
def test_pem_is_taken_as_it_is(text: str) -> None:
    assert decode_field(text, "private_key")[0] == text.encode()
    assert codes(text) == [("pem_not_encoded", "info", "private_key")]


@pytest.mark.parametrize(
    "text", [" ", "=", "QUJDR", "QUI=QUI=", "QUJD!", "QUJD\0", "é", "\ud800", "/etc/key.pem"]
)
def test_anything_else_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^private_key is neither base64 nor PEM$"):
        decode_field(text, "private_key")
