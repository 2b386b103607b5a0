"""Pairs certificates with their private keys for an upload."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

from ...pki.keys.public_keys import PrivateKey, spki_of
from ...pki.x509.certificate import Certificate, title
from .file_contents import Contents, read_contents
from .issuers import Issuers
from .scan import File, is_expected, walk

# Keys that belong to no certificate: ACME account keys of certbot and lego (folder accounts), of
# acme.sh and dehydrated (files), and the key backups of old certbot versions.
_OTHER_KEYS = (
    "*/accounts/*",
    "*/account.key",
    "*/account_key.pem",
    "*/users/*",
    "*_key-certbot.pem",
)
_NOTHING = "the file holds neither a certificate nor a private key"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate to upload.

    `chain` holds its issuers, the direct issuer first. `files`: first the file with the most
    certificates, then the file with the key.
    """

    files: tuple[Path, ...]
    certificate: Certificate
    chain: tuple[Certificate, ...]
    private_key: PrivateKey


@dataclass(frozen=True, slots=True)
class NotUploaded:
    """A file or certificate that is not uploaded, with the reason.

    `is_failure`: the file is broken, encrypted or unreadable, or its path was given directly.
    """

    path: Path
    reason: str
    is_failure: bool
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """The results of a search.

    `skipped`: files and folders that were skipped on purpose, with reasons. `others` counts
    unrelated files in folders.
    """

    candidates: tuple[Candidate, ...]
    not_uploaded: tuple[NotUploaded, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    others: int = 0


def collect(paths: Sequence[Path], passphrases: Sequence[str], now: datetime) -> Collected:
    """Reads files and folders, and tries `passphrases` on encrypted content.

    A certificate that has expired by `now` is left out, unless its path was given directly.
    """
    walked = walk(paths)
    files = [read_contents(file, passphrases) for file in walked.files]
    candidates, not_uploaded = _pair(files, now)
    not_uploaded += [NotUploaded(path, reason, True) for path, reason in walked.obstacles]
    unrelated = [file for file in files if file.is_empty and not file.is_named]
    # Other PEM files, such as certificate requests, are not reported by name.
    named = [
        (file.path, _NOTHING) for file in unrelated if is_expected(file.path) and not file.is_pem
    ]
    return Collected(
        tuple(sorted(candidates, key=lambda candidate: candidate.files)),
        tuple(sorted(not_uploaded, key=lambda item: item.path)),
        tuple(sorted([*walked.skipped, *named])),
        walked.others + len(unrelated) - len(named),
    )


def newest_only(collected: Collected) -> Collected:
    """Returns `collected` with only the newest certificate for each purpose.

    Certificates with the same hostnames and key type would replace each other.
    """
    newest: dict[tuple[frozenset[str], type[PrivateKey]], Candidate] = {}
    for candidate in sorted(collected.candidates, key=_expiry):
        newest[frozenset(candidate.certificate.hostnames), type(candidate.private_key)] = candidate
    kept, older = list[Candidate](), list[NotUploaded]()
    reason = "there is a newer certificate for the same hostnames"
    for candidate in collected.candidates:
        certificate = candidate.certificate
        if not certificate.hostnames or candidate in newest.values():
            kept.append(candidate)
        else:
            older.append(NotUploaded(candidate.files[0], reason, False, certificate))
    not_uploaded = sorted([*collected.not_uploaded, *older], key=lambda item: item.path)
    return replace(collected, candidates=tuple(kept), not_uploaded=tuple(not_uploaded))


def _expiry(candidate: Candidate) -> datetime:
    return candidate.certificate.not_after


def _pair(files: Sequence[Contents], now: datetime) -> tuple[list[Candidate], list[NotUploaded]]:
    keys = _by_public_key(files)
    certificates = [certificate for file in files for certificate in file.certificates]
    issuers = Issuers(certificates)
    candidates, not_uploaded = list[Candidate](), list[NotUploaded]()
    for holders in _by_leaf(files):
        best, leaf = holders[0]
        is_named = any(holder.is_named for holder, _ in holders)
        found = keys.get(leaf.key_spki or b"")
        if found is None:
            name = leaf.hostnames[0] if leaf.hostnames else title(leaf)
            reason = f"no private key for {name} among the files"
            not_uploaded.append(NotUploaded(best.path, reason, is_named, leaf))
        elif leaf.not_after <= now and not is_named:
            reason = f"expired on {leaf.not_after:%Y-%m-%d}"
            not_uploaded.append(NotUploaded(best.path, reason, False, leaf))
        else:
            key_file, key = min(found, key=lambda pair: _distance(pair[0], best.path))
            paths = tuple(dict.fromkeys([best.path, key_file]))
            candidates.append(Candidate(paths, leaf, issuers.chain(leaf), key))
    not_uploaded += _unused(files, {certificate.key_spki for certificate in certificates})
    return candidates, not_uploaded


def is_leaf(certificate: Certificate) -> bool:
    """Returns whether the certificate can be a leaf.

    Self-signed certificates for a hostname are often marked as CA too.
    """
    return not certificate.extensions.is_ca or bool(certificate.hostnames)


def _by_public_key(files: Sequence[Contents]) -> dict[bytes, list[tuple[Path, PrivateKey]]]:
    found: dict[bytes, list[tuple[Path, PrivateKey]]] = {}
    for file in files:
        for key in file.opened_keys:
            found.setdefault(spki_of(key.public_key()), []).append((file.path, key))
    return found


def _distance(file: Path, other: Path) -> int:
    return 0 if file == other else 1 if file.parent == other.parent else 2


def _by_leaf(files: Sequence[Contents]) -> Iterable[list[tuple[Contents, Certificate]]]:
    """Yields the files of each certificate, the one with the most certificates first."""
    holders: dict[bytes, list[tuple[Contents, Certificate]]] = {}
    for file in files:
        for certificate in filter(is_leaf, file.certificates):
            holders.setdefault(certificate.der, []).append((file, certificate))
    for found in holders.values():
        yield sorted(found, key=lambda pair: -len(pair[0].certificates))


def _unused(files: Sequence[Contents], spkis: set[bytes | None]) -> list[NotUploaded]:
    """Returns broken files, and private keys without a certificate."""
    not_uploaded: list[NotUploaded] = []
    for file in files:
        path, is_named = file.path, file.is_named
        not_uploaded += [
            NotUploaded(path, problem, True) for problem in dict.fromkeys(file.problems)
        ]
        is_unused = any(spki_of(key.public_key()) not in spkis for key in file.opened_keys)
        if is_unused and (is_named or not _is_other_key(file.file)):
            reason = "no certificate for this private key among the files"
            not_uploaded.append(NotUploaded(path, reason, is_named))
        if is_named and file.is_empty:
            not_uploaded.append(NotUploaded(path, _NOTHING, is_named))
    return not_uploaded


def _is_other_key(file: File) -> bool:
    # Use the path below the given folder, which may itself be in a folder `accounts`.
    place = f"/{file.path.relative_to(file.root).as_posix()}"
    return any(fnmatch(place, pattern) for pattern in _OTHER_KEYS)
