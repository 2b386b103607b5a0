"""Folders in the layouts of ACME clients, and certificates for them."""

import datetime
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

NOW = datetime.datetime.now(datetime.UTC)
DIRECTORY = "acme-v02.api.letsencrypt.org"


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and its issuers, the direct issuer first."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    issuers: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> bytes:
        """The chain without the root, as ACME servers return it."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.issuers[:-1])

    @property
    def key_pem(self) -> bytes:
        return self.encode_key()

    def encode_key(
        self,
        passphrase: bytes | None = None,
        encoding: Encoding = Encoding.PEM,
        form: PrivateFormat = PrivateFormat.PKCS8,
    ) -> bytes:
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase:
            encryption = BestAvailableEncryption(passphrase)
        return self.key.private_bytes(encoding, form, encryption)

    def pkcs12(self, passphrase: bytes) -> bytes:
        return pkcs12.serialize_key_and_certificates(
            b"site",
            self.key,
            self.certificate,
            self.issuers[:-1],
            BestAvailableEncryption(passphrase),
        )


@functools.cache
def an_authority() -> Issued:
    """An intermediate CA under its own root."""
    root = _issue("Test Root", (), None, 3650)
    return _issue("Test Intermediate", (), root, 1800)


@functools.cache
def issued(*hostnames: str, days: int = 60, version: int = 1, starts: int | None = None) -> Issued:
    """A certificate for `hostnames` that expires `days` from now; another for each `version`. It is
    valid `starts` days from now (None: already)."""
    return _issue(hostnames[0], hostnames, an_authority(), days, starts)


def _issue(
    name: str,
    hostnames: tuple[str, ...],
    issuer: Issued | None,
    days: int,
    starts: int | None = None,
) -> Issued:
    starts = min(days, 89) - 90 if starts is None else starts
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + datetime.timedelta(days=starts))
        .not_valid_after(NOW + datetime.timedelta(days=days, minutes=30))
        .add_extension(x509.BasicConstraints(ca=not hostnames, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if hostnames:
        names = x509.SubjectAlternativeName([x509.DNSName(hostname) for hostname in hostnames])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
    else:
        builder = builder.add_extension(_CA_USAGE, critical=True)
    if issuer:
        identifier = issuer.certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value),
            critical=False,
        )
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Issued(key, certificate, (issuer.certificate, *issuer.issuers) if issuer else ())


_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def write(root: Path, files: Mapping[str, bytes | str]) -> Path:
    """Writes `files` below `root`, and returns `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def a_request(one: Issued) -> bytes:
    """The request (CSR) for such a certificate."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(one.certificate.subject)
    return builder.sign(one.key, hashes.SHA256()).public_bytes(Encoding.PEM)


@functools.cache
def an_account_key() -> bytes:
    return _issue("account", ("account",), None, 1).key_pem


def certbot(root: Path, versions: Mapping[str, tuple[Issued, ...]]) -> Path:
    """/etc/letsencrypt: the versions of each lineage, the last one live."""
    account = f"accounts/{DIRECTORY}/directory/0123456789abcdef0123456789abcdef"
    files: dict[str, bytes | str] = {
        f"{account}/private_key.json": json.dumps({"kty": "RSA", "n": "AQAB", "d": "AQAB"}),
        f"{account}/meta.json": "{}",
        f"{account}/regr.json": "{}",
        "live/README": "This directory contains your keys and certificates.\n",
        "options-ssl-nginx.conf": "ssl_session_cache shared:le_nginx_SSL:10m;\n",
        "ssl-dhparams.pem": "-----BEGIN DH PARAMETERS-----\nMAY=\n-----END DH PARAMETERS-----\n",
    }
    for hook in ("deploy", "post", "pre"):
        (root / "renewal-hooks" / hook).mkdir(parents=True)
    number = 0
    for name, lineage in versions.items():
        files[f"renewal/{name}.conf"] = f"archive_dir = {root}/archive/{name}\n"
        files[f"live/{name}/README"] = "This directory contains your keys and certificates.\n"
        for version, one in enumerate(lineage, 1):
            files |= {
                f"archive/{name}/cert{version}.pem": one.pem,
                f"archive/{name}/chain{version}.pem": one.chain,
                f"archive/{name}/fullchain{version}.pem": one.pem + one.chain,
                f"archive/{name}/privkey{version}.pem": one.key_pem,
                f"csr/{number:04}_csr-certbot.pem": a_request(one),
                f"keys/{number:04}_key-certbot.pem": one.key_pem,
            }
            number += 1
    write(root, files)
    for name, lineage in versions.items():
        for part in ("cert", "chain", "fullchain", "privkey"):
            target = f"../../archive/{name}/{part}{len(lineage)}.pem"
            (root / "live" / name / f"{part}.pem").symlink_to(target)
    return root


def acme_sh(root: Path, *certificates: Issued) -> Path:
    """~/.acme.sh, with keys of elliptic curves."""
    files: dict[str, bytes | str] = {
        "account.conf": "LOG_FILE='/root/.acme.sh/acme.sh.log'\n",
        "acme.sh": "#!/usr/bin/env sh\n# -----BEGIN CERTIFICATE----- is looked for in answers\n",
        "acme.sh.env": 'export LE_WORKING_DIR="/root/.acme.sh"\n',
        "http.header": "HTTP/2 200\n",
        "dnsapi/dns_cf.sh": "#!/usr/bin/env sh\n",
        f"ca/{DIRECTORY}/directory/account.key": an_account_key(),
        f"ca/{DIRECTORY}/directory/account.json": "{}",
        f"ca/{DIRECTORY}/directory/ca.conf": "CA_KEY_HASH='x'\n",
    }
    for one in certificates:
        name = _common_name(one)
        folder = f"{name}_ecc"
        files |= {
            f"{folder}/{name}.cer": one.pem,
            f"{folder}/{name}.conf": f"Le_Domain='{name}'\n",
            f"{folder}/{name}.csr": a_request(one),
            f"{folder}/{name}.csr.conf": "[ req_distinguished_name ]\n",
            f"{folder}/{name}.key": one.encode_key(form=PrivateFormat.TraditionalOpenSSL),
            f"{folder}/ca.cer": one.chain,
            f"{folder}/fullchain.cer": one.pem + one.chain,
            f"{folder}/backup/key.bak": one.key_pem,
            f"{folder}/backup/fullchain.bak": one.pem + one.chain,
        }
    return write(root, files)


def lego(root: Path, *certificates: Issued) -> Path:
    """.lego; the certificates are bundled with their issuers, as by default."""
    account = f"accounts/{DIRECTORY}/ada@example.com"
    files: dict[str, bytes | str] = {
        f"{account}/account.json": "{}",
        f"{account}/keys/ada@example.com.key": an_account_key(),
    }
    for one in certificates:
        name = _common_name(one).replace("*", "_")
        files |= {
            f"certificates/{name}.crt": one.pem + one.chain,
            f"certificates/{name}.issuer.crt": one.chain,
            f"certificates/{name}.key": one.encode_key(form=PrivateFormat.TraditionalOpenSSL),
            f"certificates/{name}.json": json.dumps({"domain": name}),
            f"archives/1700000000.{name}.crt": one.pem + one.chain,
        }
    return write(root, files)


def caddy(root: Path, *certificates: Issued) -> Path:
    """Caddy's storage, with its own CA."""
    authority = an_authority()
    files: dict[str, bytes | str] = {
        "instance.uuid": "5ad1f5d0-0000-4000-8000-000000000000",
        "last_clean.json": "{}",
        f"acme/{DIRECTORY}-directory/users/default/default.json": "{}",
        f"acme/{DIRECTORY}-directory/users/default/default.key": an_account_key(),
        "pki/authorities/local/intermediate.crt": authority.pem,
        "pki/authorities/local/intermediate.key": authority.key_pem,
    }
    for one in certificates:
        name = _common_name(one)
        folder = f"certificates/{DIRECTORY}-directory/{name}"
        files |= {
            f"{folder}/{name}.crt": one.pem + one.chain,
            f"{folder}/{name}.key": one.encode_key(form=PrivateFormat.TraditionalOpenSSL),
            f"{folder}/{name}.json": json.dumps({"sans": [name]}),
        }
    return write(root, files)


def dehydrated(root: Path, old: Issued, new: Issued) -> Path:
    """The base folder of dehydrated; `new` is the renewal of `old`."""
    name = _common_name(new)
    folder = root / "certs" / name
    for time, one in ((1600000000, old), (1700000000, new)):
        write(
            folder,
            {
                f"cert-{time}.csr": a_request(one),
                f"cert-{time}.pem": one.pem,
                f"chain-{time}.pem": one.chain,
                f"fullchain-{time}.pem": one.pem + one.chain,
                f"privkey-{time}.pem": one.key_pem,
            },
        )
    for part in ("cert", "chain", "fullchain", "privkey"):
        (folder / f"{part}.pem").symlink_to(f"{part}-1700000000.pem")
    (folder / "cert.csr").symlink_to("cert-1700000000.csr")
    return write(root, {"accounts/aHR0cHM6Ly9hY21l/account_key.pem": an_account_key()})


def getssl(root: Path, old: Issued, new: Issued) -> Path:
    """~/.getssl; `new` is the renewal of `old`."""
    name = _common_name(new)
    return write(
        root,
        {
            "account.key": an_account_key(),
            "getssl.cfg": "CA=\n",
            f"{name}/getssl.cfg": "SANS=\n",
            f"{name}/{name}.crt": new.pem,
            f"{name}/{name}.csr": a_request(new),
            f"{name}/{name}.key": new.key_pem,
            f"{name}/chain.crt": new.chain,
            f"{name}/fullchain.crt": new.pem + new.chain,
            f"{name}/archive/2026_08_01_10_00/{name}.crt": old.pem,
            f"{name}/archive/2026_08_01_10_00/{name}.key": old.key_pem,
        },
    )


def _common_name(one: Issued) -> str:
    name = one.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    return str(name)
