"""Pairs certificates with their private keys for an upload."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

from ...pki.keys.public_keys import PrivateKey, spki_of
from ...pki.x509.certificate import Certificate, title
from .file_contents import Contents, is_nothing, look_into
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
class LeftOut:
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

    `passed_over`: files and folders that were skipped on purpose, with reasons. `others` counts
    unrelated files in folders.
    """

    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    passed_over: tuple[tuple[Path, str], ...] = ()
    others: int = 0


def collect(paths: Sequence[Path], passphrases: Sequence[str], now: datetime) -> Collected:
    """Reads files and folders, and tries `passphrases` on encrypted content.

    A certificate that has expired by `now` is left out, unless its path was given directly.
    """
    walked = walk(paths)
    contents = [look_into(file, passphrases) for file in walked.files]
    candidates, left_out = _pair(contents, now)
    left_out += [LeftOut(obstacle.path, obstacle.reason, True) for obstacle in walked.obstacles]
    unrelated = [
        file_contents
        for file_contents in contents
        if is_nothing(file_contents) and not file_contents.file.is_named
    ]
    # Other PEM files, such as certificate requests, are not reported by name.
    named = [
        (file_contents.file.path, _NOTHING)
        for file_contents in unrelated
        if is_expected(file_contents.file.path) and not file_contents.is_pem
    ]
    return Collected(
        tuple(sorted(candidates, key=lambda candidate: candidate.files)),
        tuple(sorted(left_out, key=lambda item: item.path)),
        tuple(sorted([*walked.passed_over, *named])),
        walked.others + len(unrelated) - len(named),
    )


def newest_only(collected: Collected) -> Collected:
    """Returns `collected` with only the newest certificate for each purpose.

    Certificates with the same hostnames and key type would replace each other.
    """
    newest: dict[tuple[frozenset[str], type[PrivateKey]], Candidate] = {}
    for candidate in sorted(
        collected.candidates, key=lambda candidate: candidate.certificate.not_after
    ):
        if candidate.certificate.hostnames:
            newest[frozenset(candidate.certificate.hostnames), type(candidate.private_key)] = (
                candidate
            )
    kept = [
        candidate
        for candidate in collected.candidates
        if not candidate.certificate.hostnames or candidate in newest.values()
    ]
    reason = "there is a newer certificate for the same hostnames"
    older = [
        LeftOut(candidate.files[0], reason, False, candidate.certificate)
        for candidate in collected.candidates
        if candidate not in kept
    ]
    left_out = sorted([*collected.left_out, *older], key=lambda item: item.path)
    return replace(collected, candidates=tuple(kept), left_out=tuple(left_out))


def _pair(contents: Sequence[Contents], now: datetime) -> tuple[list[Candidate], list[LeftOut]]:
    keys = _by_public_key(contents)
    issuers = Issuers(
        certificate for file_contents in contents for certificate in file_contents.certificates
    )
    candidates, left_out = list[Candidate](), list[LeftOut]()
    for holders in _by_leaf(contents):
        best, leaf = holders[0]
        is_named = any(holder.file.is_named for holder, _ in holders)
        found = keys.get(leaf.key_spki or b"")
        if found is None:
            name = leaf.hostnames[0] if leaf.hostnames else title(leaf)
            reason = f"no private key for {name} among the files"
            left_out.append(LeftOut(best.file.path, reason, is_named, leaf))
        elif leaf.not_after <= now and not is_named:
            reason = f"expired on {leaf.not_after:%Y-%m-%d}"
            left_out.append(LeftOut(best.file.path, reason, False, leaf))
        else:
            key_file, key = min(found, key=lambda held: _distance(held[0], best.file.path))
            files = dict.fromkeys([best.file.path, key_file])
            candidates.append(Candidate(tuple(files), leaf, issuers.chain(leaf), key))
    left_out += _unused(
        contents,
        {
            certificate.key_spki
            for file_contents in contents
            for certificate in file_contents.certificates
        },
    )
    return candidates, left_out


def is_leaf(certificate: Certificate) -> bool:
    """Returns whether the certificate can be a leaf.

    Self-signed certificates for a hostname are often marked as CA too.
    """
    return not certificate.extensions.is_ca or bool(certificate.hostnames)


def _by_public_key(contents: Sequence[Contents]) -> dict[bytes, list[tuple[Path, PrivateKey]]]:
    """Returns the private keys and their files, by public key."""
    found: dict[bytes, list[tuple[Path, PrivateKey]]] = {}
    for file_contents in contents:
        for key in file_contents.opened_keys:
            found.setdefault(spki_of(key.public_key()), []).append((file_contents.file.path, key))
    return found


def _distance(file: Path, other: Path) -> int:
    return 0 if file == other else 1 if file.parent == other.parent else 2


def _by_leaf(contents: Sequence[Contents]) -> Iterable[list[tuple[Contents, Certificate]]]:
    """Yields the files of each certificate, the one with the most certificates first."""
    holders: dict[bytes, list[tuple[Contents, Certificate]]] = {}
    for file_contents in contents:
        for certificate in filter(is_leaf, file_contents.certificates):
            holders.setdefault(certificate.der, []).append((file_contents, certificate))
    for found in holders.values():
        yield sorted(found, key=lambda pair: -len(pair[0].certificates))


def _unused(contents: Sequence[Contents], spkis: set[bytes | None]) -> list[LeftOut]:
    """Returns broken files, and private keys without a certificate."""
    left_out: list[LeftOut] = []
    for file_contents in contents:
        path, is_named = file_contents.file.path, file_contents.file.is_named
        left_out += [
            LeftOut(path, problem, True) for problem in dict.fromkeys(file_contents.problems)
        ]
        reasons = []
        if any(spki_of(key.public_key()) not in spkis for key in file_contents.opened_keys) and (
            is_named or not _is_other_key(file_contents.file)
        ):
            reasons.append("no certificate for this private key among the files")
        if is_named and is_nothing(file_contents):
            reasons.append(_NOTHING)
        left_out += [LeftOut(path, reason, is_named) for reason in reasons]
    return left_out


def _is_other_key(file: File) -> bool:
    # Use the path below the given folder, which may itself be in a folder `accounts`.
    place = f"/{file.path.relative_to(file.root).as_posix()}"
    return any(fnmatch(place, pattern) for pattern in _OTHER_KEYS)
