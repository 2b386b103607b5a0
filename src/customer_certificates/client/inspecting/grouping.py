"""Groups the files to inspect: certificates with their chains and keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...pki.keys.public_keys import spki_of
from ...pki.submission import Submission
from ...pki.x509.certificate import Certificate, pem_of
from ..importing.file_contents import Contents, HeldKey
from ..importing.issuers import Issuers
from ..importing.pairing import is_leaf


@dataclass(frozen=True, slots=True)
class Subject:
    """Content that is validated together, and its files."""

    files: tuple[Path, ...]
    submission: Submission


def subjects_in(contents: Sequence[Contents], key: Path | None) -> list[Subject]:
    """Returns a subject for each certificate and for each other file.

    A private key without a certificate is validated with the first certificate without a key, so
    that the mismatch is reported. The key in the file `key` is always validated with the first
    certificate.
    """
    issuers = Issuers(certificate for file in contents for certificate in file.certificates)
    key_files = [file for file in contents if _is_key_file(file, key)]
    mains = _mains([file for file in contents if file not in key_files])
    pairs = [(main, _holder_for(main, key_files)) for main in mains]
    matched = [holder for _, holder in pairs]
    spare = [file for file in key_files if file not in matched]
    spare.sort(key=lambda file: file.path != key)
    subjects = []
    for main, holder in pairs:
        is_requested = bool(spare) and spare[0].path == key
        chosen = spare.pop(0) if spare and (is_requested or not holder) else holder
        subjects.append(_subject(main, chosen, issuers))
    for file in spare:
        held = _first_key(file)
        submission = Submission(private_key=held.data, passphrase=held.passphrase)
        subjects.append(Subject((file.path,), submission))
    return subjects


def _is_key_file(contents: Contents, key: Path | None) -> bool:
    return contents.path == key or (
        not contents.certificates
        and not contents.is_pkcs12
        and (bool(contents.keys) or b"PRIVATE KEY-----" in contents.data)
    )


def _mains(contents: Sequence[Contents]) -> list[Contents]:
    """Returns the files to describe.

    Of several files with the same certificate, returns the one with the most certificates.
    """
    mains = []
    covered: set[bytes] = set()
    for file in sorted(contents, key=lambda file: -len(file.certificates)):
        leaves = {certificate.der for certificate in file.certificates if is_leaf(certificate)}
        if leaves - covered or not file.certificates:
            mains.append(file)
        covered |= leaves
    # CA certificates complete chains. Without other certificates, describe the CA certificates.
    if not covered:
        mains = list(contents)
    return [file for file in contents if file in mains]


def _holder_for(main: Contents, key_files: Sequence[Contents]) -> Contents | None:
    """Returns the file with the private key, or `main` if its own key cannot be read."""
    holders = (file for file in (main, *key_files) if _matching_key(file, main))
    return next(holders, main if main.keys else None)


def _matching_key(holder: Contents, main: Contents) -> HeldKey | None:
    """Returns the private key in `holder` that matches a certificate in `main`."""
    spkis = {certificate.key_spki for certificate in main.certificates}
    matching = (
        key for key in holder.keys if key.opened and spki_of(key.opened.public_key()) in spkis
    )
    return next(matching, None)


def _subject(main: Contents, holder: Contents | None, issuers: Issuers) -> Subject:
    files = tuple(dict.fromkeys([main.path, (holder or main).path]))
    if main.is_pkcs12 and holder in (main, None):
        return Subject(files, Submission(pkcs12=main.data, passphrase=main.passphrase))
    own = {certificate.der for certificate in main.certificates}
    extra: dict[bytes, Certificate] = {}
    for leaf in filter(is_leaf, main.certificates):
        extra |= {
            certificate.der: certificate
            for certificate in issuers.chain(leaf)
            if certificate.der not in own
        }
    key = (_matching_key(holder, main) or _first_key(holder)) if holder else None
    return Subject(
        files,
        Submission(
            body=_body(main),
            chain="".join(pem_of(der) for der in extra),
            private_key=key.data if key else b"",
            passphrase=key.passphrase if key else None,
        ),
    )


def _first_key(holder: Contents) -> HeldKey:
    # The file given as the key may contain no recognizable key.
    return holder.keys[0] if holder.keys else HeldKey(holder.data, None, None)


def _body(main: Contents) -> str:
    """Returns the file as given, or only its certificates if it holds more."""
    if main.certificates and (main.keys or not main.is_pem):
        return "".join(pem_of(certificate.der) for certificate in main.certificates)
    return main.data.decode("utf-8", "replace")
