"""Certificates and keys in the folders of ACME clients, and in single files."""

import os
import socket
from base64 import encodebytes
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs7

from customer_certificates.client.importing.pairing import Candidate, Collected, collect

from ...corpus.sealed import (
    PASSPHRASE,
    Pbes2,
    certificate_bag,
    open_safe,
    pkcs12,
    sealed_safe,
    shrouded_key_bag,
)
from . import trees
from .trees import NOW, Issued, issued, write

WWW = issued("www.example.com", "example.com")
SHOP = issued("shop.example.com")
RENEWED = issued("www.example.com", "example.com", version=2)
EXPIRED = issued("old.example.com", days=-10)


def collected(*paths: Path, passphrases: Iterable[str] = ()) -> Collected:
    return collect(paths, list(passphrases), NOW)


def ders(found: Collected) -> set[bytes]:
    return {candidate.certificate.der for candidate in found.candidates}


def names(candidate: Candidate, root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in candidate.files]


def reasons(found: Collected) -> dict[str, str]:
    return {one.path.name: one.reason for one in found.not_uploaded}


def assert_complete(found: Collected, *expected: Issued) -> None:
    """Asserts that each certificate is found once, with its key and chain, and no problem."""
    assert ders(found) == {one.der for one in expected}
    assert len(found.candidates) == len(expected)
    assert found.not_uploaded == ()
    for candidate in found.candidates:
        assert candidate.private_key.public_key() == candidate.certificate.public_key
        assert [one.der for one in candidate.chain] == [trees.an_authority().der]


def test_certbot_live_certificates_are_found(tmp_path: Path) -> None:
    root = trees.certbot(tmp_path, {"www.example.com": (WWW, RENEWED), "shop": (SHOP,)})

    found = collected(root)

    assert_complete(found, RENEWED, SHOP)
    assert names(found.candidates[1], root) == [
        "live/www.example.com/fullchain.pem",
        "live/www.example.com/privkey.pem",
    ]
    assert found.skipped == ((root / "archive", "older versions"),)


@pytest.mark.parametrize("place", ["live", "live/www.example.com"])
def test_the_live_folder_of_certbot_can_be_given_alone(tmp_path: Path, place: str) -> None:
    root = trees.certbot(tmp_path, {"www.example.com": (WWW, RENEWED)})

    assert_complete(collected(root / place), RENEWED)


def test_an_archive_given_directly_is_searched(tmp_path: Path) -> None:
    root = trees.certbot(tmp_path, {"www.example.com": (WWW, RENEWED)})

    assert_complete(collected(root / "archive"), WWW, RENEWED)


@pytest.mark.parametrize(
    "mangled",
    [
        lambda text: text.replace("-----\n-----", "----------"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("-----\n-----", "----------").replace("\n", "\r"),
        lambda text: "".join(f"\ufeff{part}" for part in text.splitlines(keepends=True)),
        lambda text: text.replace("-----BEGIN", "\u00a0-----BEGIN"),
        lambda text: text.replace("-----BEGIN", "\u200b-----BEGIN"),
        lambda text: "".join(f"    {line}\n" for line in text.splitlines()),
        lambda text: text.replace("\n", "\\n"),
        lambda text: text.replace("\n", " "),
        lambda text: text.replace("-----BEGIN", "PEM=-----BEGIN"),
        lambda text: f'# from -----BEGIN CERTIFICATE----- on\n"{text}"',
    ],
)
@pytest.mark.parametrize("passphrase", [None, "secret"])
def test_blocks_are_found_as_in_an_upload(
    mangled: Callable[[str], str], passphrase: str | None, tmp_path: Path
) -> None:
    # Of the old kind: with encryption headers.
    secret = passphrase.encode() if passphrase else None
    key = WWW.encode_key(secret, form=PrivateFormat.TraditionalOpenSSL)
    text = (WWW.pem + key + trees.an_authority().pem).decode()
    write(tmp_path, {"combined.pem": mangled(text)})

    assert_complete(collected(tmp_path, passphrases=[passphrase] if passphrase else []), WWW)


def test_certificates_of_acme_sh_are_found(tmp_path: Path) -> None:
    found = collected(trees.acme_sh(tmp_path / ".acme.sh", WWW, SHOP))

    assert_complete(found, WWW, SHOP)
    assert found.candidates[1].files[0].name == "fullchain.cer"


def test_certificates_of_lego_are_found(tmp_path: Path) -> None:
    wildcard = issued("*.example.com", "example.com")

    assert_complete(collected(trees.lego(tmp_path / ".lego", wildcard, SHOP)), wildcard, SHOP)


def test_certificates_of_caddy_are_found(tmp_path: Path) -> None:
    """The keys of Caddy's own CA are not uploaded."""
    assert_complete(collected(trees.caddy(tmp_path, WWW, SHOP)), WWW, SHOP)


def test_certificates_of_dehydrated_are_found(tmp_path: Path) -> None:
    assert_complete(collected(trees.dehydrated(tmp_path, WWW, RENEWED)), RENEWED)


def test_certificates_of_getssl_are_found(tmp_path: Path) -> None:
    assert_complete(collected(trees.getssl(tmp_path, WWW, RENEWED)), RENEWED)


def test_single_files_in_every_format_are_read(tmp_path: Path) -> None:
    haproxy, windows, binary = (issued(f"{name}.example.com") for name in ("a", "b", "c"))
    write(
        tmp_path,
        {
            "haproxy.pem": haproxy.key_pem + haproxy.pem + haproxy.chain,
            "windows.pfx": windows.pkcs12(b"secret"),
            "binary.crt": binary.der,
            "server.key": binary.encode_key(encoding=Encoding.DER),
            "notes.txt": "-----BEGIN nothing of the kind-----",
            "zero.pem": b"\0" * 100,
            "empty.pem": b"",
        },
    )

    assert_complete(collected(tmp_path, passphrases=["wrong", "secret"]), haproxy, windows, binary)


@pytest.mark.parametrize("name", ["backup", "archive", "archives"])
def test_a_folder_named_archive_without_a_client_is_searched(tmp_path: Path, name: str) -> None:
    """A certificate may have this name: certbot --cert-name backup."""
    root = trees.certbot(tmp_path, {name: (WWW,)})
    write(root, {"live/nginx.conf": b"", "live/README": b""})

    assert_complete(collected(root), WWW)


def test_pkcs7_bundles_are_read(tmp_path: Path) -> None:
    """Windows and some CAs write them in PEM and in DER, with the key in another file."""
    certificates = [WWW.certificate, *WWW.issuers]
    shop = [SHOP.certificate]
    write(
        tmp_path,
        {
            "www.p7b": pkcs7.serialize_certificates(certificates, Encoding.PEM),
            "www.key": WWW.key_pem,
            "shop.p7c": pkcs7.serialize_certificates(shop, Encoding.DER),
            "shop.key": SHOP.key_pem,
            "damaged.p7b": b"-----BEGIN PKCS7-----\nMAMCAQE=\n-----END PKCS7-----\n",
        },
    )

    found = collected(tmp_path)

    assert ders(found) == {WWW.der, SHOP.der}
    assert "PKCS#7" in reasons(found)["damaged.p7b"]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda bundle: bundle + WWW.key_pem,
        lambda bundle: WWW.key_pem + WWW.pem + bundle,
        lambda bundle: bundle.replace(b"PKCS7", b"CERTIFICATE") + WWW.key_pem,
    ],
    ids=["key behind", "key and certificate before", "label of a certificate"],
)
def test_blocks_beside_a_bundle_are_read(tmp_path: Path, rewrite: Callable[[bytes], bytes]) -> None:
    bundle = pkcs7.serialize_certificates([WWW.certificate, *WWW.issuers[:-1]], Encoding.PEM)
    write(tmp_path, {"all.pem": rewrite(bundle)})

    assert_complete(collected(tmp_path), WWW)


def test_base64_without_begin_and_end_lines_is_read(tmp_path: Path) -> None:
    """Windows exports it, and Kubernetes secrets contain it."""
    bundle = pkcs7.serialize_certificates([WWW.certificate, *WWW.issuers[:-1]], Encoding.DER)
    key = WWW.encode_key(encoding=Encoding.DER)
    write(tmp_path, {"www.p7b": encodebytes(bundle), "www.key": encodebytes(key)})
    write(tmp_path, {"shop.pfx": encodebytes(SHOP.pkcs12(PASSPHRASE.encode()))})

    found = collected(tmp_path, passphrases=[PASSPHRASE])

    assert ders(found) == {WWW.der, SHOP.der}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_text_in_utf_16_is_read(tmp_path: Path, encoding: str) -> None:
    """PowerShell's `>` writes UTF-16 with a byte order mark, other programs without."""
    write(tmp_path, {"all.pem": (WWW.pem + WWW.chain + WWW.key_pem).decode().encode(encoding)})

    assert_complete(collected(tmp_path), WWW)


def test_all_pairs_of_a_keystore_are_read(tmp_path: Path) -> None:
    """A file of keytool: two aliases, each with a key and a certificate."""
    chain = trees.an_authority().der
    certificates = [certificate_bag(der) for der in (WWW.der, SHOP.der, chain)]
    keys = [
        shrouded_key_bag(one.encode_key(encoding=Encoding.DER), Pbes2(), PASSPHRASE)
        for one in (WWW, SHOP)
    ]
    sealed = sealed_safe(*certificates, sealing=Pbes2(), passphrase=PASSPHRASE)
    write(tmp_path, {"keystore.p12": pkcs12((sealed, open_safe(*keys)))})

    assert_complete(collected(tmp_path, passphrases=[PASSPHRASE]), WWW, SHOP)


def test_every_file_is_reported_or_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "www.pem": WWW.pem + WWW.chain + WWW.key_pem,
            "old.jks": bytes.fromhex("feedfeed00000002"),
            "large.pem": b"x" * 300_000,
            "empty.crt": b"",
            "large.log": b"x" * 300_000,
            "notes.txt": b"hello",
        },
    )

    found = collected(tmp_path)

    assert "keytool" in reasons(found)["old.jks"]
    assert {path.name for path, _ in found.skipped} == {"large.pem", "empty.crt"}
    assert found.others == 2


def test_file_names_do_not_matter(tmp_path: Path) -> None:
    write(
        tmp_path, {"a.crt": WWW.pem, "a.key": SHOP.key_pem, "b.crt": SHOP.pem, "b.key": WWW.key_pem}
    )

    found = collected(tmp_path)

    assert ders(found) == {WWW.der, SHOP.der}
    assert {tuple(names(one, tmp_path)) for one in found.candidates} == {
        ("a.crt", "b.key"),
        ("b.crt", "a.key"),
    }


def test_a_chain_is_built_from_all_files(tmp_path: Path) -> None:
    """This includes the root: a private root is trusted only if it is uploaded."""
    root = trees.an_authority().issuers[0].public_bytes(Encoding.PEM)
    write(
        tmp_path,
        {
            "site/cert.pem": WWW.pem,
            "site/key.pem": WWW.key_pem,
            "authorities.pem": root + WWW.chain,
        },
    )

    (candidate,) = collected(tmp_path).candidates

    assert [one.subject_text for one in candidate.chain] == ["CN=Test Intermediate", "CN=Test Root"]


def test_unpaired_files_are_skipped_unless_given_directly(tmp_path: Path) -> None:
    write(tmp_path, {"cert.pem": WWW.pem, "other.key": SHOP.key_pem})
    expected = {
        "cert.pem": "no private key for www.example.com among the files",
        "other.key": "no certificate for this private key among the files",
    }

    in_folder = collected(tmp_path)
    named = collected(tmp_path / "cert.pem", tmp_path / "other.key")

    assert reasons(in_folder) == reasons(named) == expected
    assert not any(one.is_failure for one in in_folder.not_uploaded)
    assert all(one.is_failure for one in named.not_uploaded)


def test_an_expired_certificate_is_skipped_unless_given_directly(tmp_path: Path) -> None:
    write(tmp_path, {"cert.pem": EXPIRED.pem, "key.pem": EXPIRED.key_pem})

    assert "expired on 20" in reasons(collected(tmp_path))["cert.pem"]
    assert ders(collected(tmp_path / "cert.pem", tmp_path / "key.pem")) == {EXPIRED.der}


def test_encrypted_keys_need_a_passphrase(tmp_path: Path) -> None:
    write(tmp_path, {"cert.pem": WWW.pem, "key.pem": WWW.encode_key(b"secret")})

    without = reasons(collected(tmp_path))["key.pem"]
    wrong = reasons(collected(tmp_path, passphrases=["wrong"]))["key.pem"]
    right = collected(tmp_path, passphrases=["wrong", "secret"])

    assert without == "the file is encrypted; pass its passphrase with --passphrase-file"
    assert wrong == "the file is encrypted, and no passphrase matches"
    assert ders(right) == {WWW.der}


def test_a_locked_pkcs12_file_is_reported(tmp_path: Path) -> None:
    write(tmp_path, {"site.p12": WWW.pkcs12(b"secret")})

    assert "the file is encrypted" in reasons(collected(tmp_path))["site.p12"]


def test_broken_certificates_and_keys_are_reported(tmp_path: Path) -> None:
    broken = WWW.pem.replace(b"M", b"!", 40)
    write(tmp_path, {"cert.pem": broken, "site.crt": b"\x30\x82\x01\x00" + b"x" * 50})
    write(
        tmp_path,
        {"picture.bin": b"\x30\x82\x01\x00" + b"x" * 50, "request.pem": trees.a_request(WWW)},
    )

    assert set(reasons(collected(tmp_path))) == {"cert.pem", "site.crt"}


def test_a_file_without_certificates_fails_if_given_directly(tmp_path: Path) -> None:
    write(tmp_path, {"notes.txt": "nothing"})

    (not_uploaded,) = collected(tmp_path / "notes.txt").not_uploaded

    assert not_uploaded.is_failure


def test_loops_and_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = write(
        tmp_path / "outside", {"key.pem": WWW.key_pem, "shop.pem": SHOP.pem + SHOP.key_pem}
    )
    inside = write(tmp_path / "inside", {"cert.pem": WWW.pem, "deep/er/notes.txt": ""})
    (inside / "key.pem").symlink_to(outside / "key.pem")
    (inside / "loop").symlink_to(inside)
    (inside / "deep" / "er" / "up").symlink_to("..")
    (inside / "itself.key").symlink_to("itself.key")
    (inside / "dead.conf").symlink_to("nowhere.conf")
    (inside / "dead.pem").symlink_to("nowhere.pem")
    (inside / "elsewhere").symlink_to(outside)

    found = collected(inside)

    assert ders(found) == {WWW.der}
    assert reasons(found)["dead.pem"] == "the symbolic link is broken"
    assert set(reasons(found)) == {"dead.pem", "itself.key"}
    assert found.skipped == ((inside / "elsewhere", f"a link to a folder outside {inside}"),)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Reading a pipe without a writer would block."""
    write(tmp_path, {"site.pem": WWW.pem + WWW.key_pem, "huge.pem": WWW.pem * 400})
    os.mkfifo(tmp_path / "pipe.pem")
    (tmp_path / "zero.pem").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket.pem"))
        found = collected(tmp_path)
        named = collected(tmp_path / "pipe.pem", tmp_path / "zero.pem", tmp_path / "socket.pem")

    assert ders(found) == {WWW.der}
    assert found.not_uploaded == ()
    assert {one.reason for one in named.not_uploaded} == {"the path is neither a file nor a folder"}
    assert len(named.not_uploaded) == 3


def test_an_unreadable_folder_is_reported_and_the_rest_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may run as root, who can read every file."""
    write(tmp_path, {"live/key.pem": WWW.key_pem, "shop.pem": SHOP.pem + SHOP.key_pem})
    listdir = os.listdir

    def refuse(folder: Path) -> list[str]:
        if folder.name == "live":
            raise PermissionError(13, "Permission denied")
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    found = collected(tmp_path)

    assert ders(found) == {SHOP.der}
    assert reasons(found) == {"live": "cannot be read: Permission denied"}


def test_unreadable_files_with_certificate_names_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"key.pem": WWW.key_pem, "shadow": "x", "shop.pem": SHOP.pem + SHOP.key_pem})
    open_file = os.open

    def refuse(path: Path, *rest: int) -> int:
        if path.name in ("key.pem", "shadow"):
            raise PermissionError(13, "Permission denied")
        return open_file(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    found = collected(tmp_path)

    assert ders(found) == {SHOP.der}
    assert reasons(found) == {"key.pem": "cannot be read: Permission denied"}


def test_a_file_with_two_paths_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, {"site.pem": WWW.pem + WWW.key_pem})
    os.link(tmp_path / "site.pem", tmp_path / "copy.pem")

    assert len(collected(tmp_path, tmp_path, tmp_path / "site.pem").candidates) == 1
