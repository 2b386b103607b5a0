"""Private keys in texts that other users can read, and text that only resembles a key."""

import base64
from collections.abc import Callable

import pytest

from customer_certificates.pki.keys.exposed_keys import has_private_key
from customer_certificates.pki.pem.reader import read_pem

from ...corpus.case import key_pem, pem
from ...corpus.keys import pkcs8, rsa_key
from .. import made_by_openssl as made

CERTIFICATE = made.CERTIFICATE
DER = base64.b64decode("".join(CERTIFICATE.splitlines()[1:-1]))
EC_KEY = key_pem().decode()
RSA_KEY = pem(pkcs8(rsa_key("2048")), "PRIVATE KEY")
ENCRYPTED = """-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,0C78B7D52C1B08D01824EDF8016391C6

""" + "\n".join(RSA_KEY.splitlines()[1:]).replace("PRIVATE", "RSA PRIVATE")


def is_found(text: str) -> bool:
    return has_private_key(read_pem(text, "body"), {DER})


@pytest.mark.parametrize(
    "sentence",
    [
        "To begin the installation you need the certificate and the private key:",
        "BEGIN HERE. Keep your PRIVATE KEY secret.",
        "Before you begin, find the private key, which is in /etc/ssl/private/www2/key.",
        "Never send the block -----BEGIN PRIVATE KEY----- to anybody.",
        "The key is from -----BEGIN RSA PRIVATE KEY----- to -----END RSA PRIVATE KEY-----.",
        "-----BEGIN PRIVATE KEY-----\n(yours, not shown here)\n-----END PRIVATE KEY-----",
        "We begin with the private key's certificate, SHA-256 "
        "7b5f1c8d9e0a1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d6e7f8091a2b3:",
        "Begin: private key\nRechtsschutzversicherungsgesellschaften\nDonaudampfschifffahrten",
        "begin private key /usr/local/share/ca/certificates/www2/example/key",
        "To begin, make a private key.\nhttps://ca.example/kb/115004218345-install-it-on-nginx"
        "?token=Zk3kLm29fJq0aPq81xTy7Bnv55Wq2RtYu8IoPaSdFgHjKlZxCvBnM12",
        "To begin, make a private key.\nOrder 550e8400-e29b-41d4-a716-446655440000-000001",
        "BEGIN WITH YOUR PRIVATE KEY:\nd6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM= is its pin.",
        "The mail began: -----BEGIN PRIVATE KEY----- is secret. Message-ID: "
        "<CAF8nq3kJ9vXyZ0w2LrTb5Qm7Hd1Gs4Pa6Eu8Ic0Ko3Yt5Rf7Wz12345678@mail.example.com>",
    ],
)
def test_a_sentence_about_keys_is_not_a_key(sentence: str) -> None:
    for text in (
        f"{sentence}\n{CERTIFICATE}",
        f"{CERTIFICATE}{sentence}",
        f"{sentence} {CERTIFICATE}{sentence}\n{CERTIFICATE}",
        CERTIFICATE.strip() + sentence + CERTIFICATE,
    ):
        assert not is_found(text), text


def headless(key: str) -> str:
    return "\n".join(line for line in key.splitlines() if "-----" not in line)


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY, made.KEY, ENCRYPTED])
@pytest.mark.parametrize(
    "mangled",
    [
        str,
        str.lower,
        str.upper,
        lambda key: key.replace("-----", "----"),
        lambda key: key.replace("-----", "\u2013\u2013\u2013"),
        lambda key: key.replace("PRIVATE KEY", "CERTIFICATE"),
        lambda key: key.replace("BEGIN", "BEG\u200bIN"),
        lambda key: key.replace(" PRIVATE ", "\u00a0PRIVATE\u00a0"),
        lambda key: key.replace("\n", " "),
        lambda key: key.replace("\n", "\r"),
        lambda key: key.replace("\n", "\\n"),
        lambda key: key.replace("-----\n", "-----\\n", 1).replace("\n", "\\\\n"),
        lambda key: "\n".join(f"# {line}" for line in key.splitlines()),
        lambda key: "\n".join(f"// {line}" for line in key.splitlines()),
        lambda key: "\n".join(f"> {line}" for line in key.splitlines()),
        lambda key: "\n".join(f'"{line}\\n"' for line in key.splitlines()),
        lambda key: "\n".join(f"\u00a0 {line}" for line in key.splitlines()),
        lambda key: "\n".join(f"\ufeff{line}" for line in key.splitlines()),
        lambda key: key.replace("+", "-").replace("/", "_"),
        lambda key: key[:-40],
        lambda key: key.replace("M", "!", 1),
        lambda key: key.replace("-----BEGIN", "and -----BEGIN") + "or not",
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.encodebytes(key.encode()).decode(),
    ],
)
def test_a_key_in_any_form_is_found(mangled: Callable[[str], str], key: str) -> None:
    assert is_found(CERTIFICATE + mangled(key))
    assert is_found(f"begin here, with the private key: {mangled(key)}\n{CERTIFICATE}")


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY, made.KEY])
@pytest.mark.parametrize(
    "written",
    [
        str,
        lambda text: text.replace("\n", ""),
        lambda text: text.replace("\n", " "),
        lambda text: f"the key: {text} and so on",
        lambda text: f'{{"key": "{text}"}}',
        lambda text: f"key={text}\n",
        lambda text: f"zertifizierungsstelle {text}",
        lambda text: text.rstrip("="),
        lambda text: "\n".join(f"# {line}" for line in text.split("\n")),
    ],
)
def test_a_key_without_a_heading_is_found(written: Callable[[str], str], key: str) -> None:
    assert is_found(f"{CERTIFICATE}\n{written(headless(key))}\n{CERTIFICATE}")
