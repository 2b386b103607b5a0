"""Delivers certificates with their keys to terminators: one by hostname, or all."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec

from ...crypto.secret import Secret
from ...errors import NotFound
from ...field_docs import doc
from ...gateways.database import Database
from ...pki.placeholders import placeholder
from ...pki.selection import Candidate, best, decide
from ..certificates.candidates import Candidates, Servable
from ..etags import encode, tag_of
from ..principal import Principal, TerminatorScope
from .key_release import KeyRelease
from .traefik_selection import TraefikSelection

# A certificate that is replaced at each attempt is omitted, so that it does not delay the others.
_MOST_ATTEMPTS = 5


class TraefikPair(msgspec.Struct, rename="camel"):
    """A Traefik certificate. Traefik accepts the content instead of file names."""

    cert_file: Annotated[str, doc("The chain, in PEM.")]
    key_file: Annotated[str, doc("The private key, in PEM (PKCS#8).")]


class TraefikTls(msgspec.Struct):
    """Traefik's certificates."""

    certificates: Annotated[list[TraefikPair], doc("The certificates, by id.")]


class TraefikConfiguration(msgspec.Struct):
    """Traefik's dynamic configuration, with certificates only."""

    tls: Annotated[TraefikTls, doc("The TLS part of the configuration.")]


class Terminators:
    """Delivers keys to principals whose permissions were checked, and records it (KeyRelease)."""

    def __init__(
        self,
        database: Database,
        candidates: Candidates,
        key_release: KeyRelease,
        now: Callable[[], datetime],
    ) -> None:
        self._candidates = candidates
        self._selection = TraefikSelection(database)
        self._key_release = key_release
        self._now = now

    def bundle(
        self, principal: Principal, hostname: str, key_types: frozenset[str] | None
    ) -> Secret | None:
        """Returns the PEM to serve for `hostname` (normalized): the chain, then its key.

        Prefers a key type among `key_types`, those that the client supports. Returns None if
        nothing can be served. Raises Unavailable.
        """
        if not principal.terminator_scope.has_name(hostname):
            return None
        now = self._now()

        def choose(candidates: list[Candidate]) -> Candidate | None:
            return _chosen(hostname, candidates, principal.terminator_scope, now, key_types)

        chosen = self._candidates.servable(hostname, choose)
        for item, key in self._key_release.release(principal, "caddy", [chosen] if chosen else []):
            chain = item.chain_pem.encode()
            return Secret(chain + b"\n" * (not chain.endswith(b"\n")) + key.reveal())
        return None

    def require_served(self, principal: Principal, hostname: str) -> None:
        """Raises NotFound if no certificate can be served for `hostname`."""
        now, scope = self._now(), principal.terminator_scope
        candidates = [found.candidate for found in self._candidates.served(hostname)]
        if not (scope.has_name(hostname) and _chosen(hostname, candidates, scope, now, None)):
            raise NotFound(f"No certificate can be served for {hostname}.")

    def configuration(
        self, principal: Principal, is_known: Callable[[str], bool]
    ) -> tuple[str, Secret | None]:
        """Returns Traefik's dynamic configuration and its entity tag.

        Returns None instead, and reads no key, if `is_known` says that the client already has the
        tag. The configuration has the certificates that are the best for one of their hostnames,
        and placeholders for names that another user's wildcard would be served for. For the same
        certificates it is the same, byte for byte. Raises Unavailable, or Conflict if there are too
        many.
        """
        read: dict[tuple[int, int], Servable] = {}
        attempts = 0
        while True:
            attempts += 1
            selection = self._selection.of(principal.terminator_scope, self._now())
            selected = selection.certificates
            tag = _tag(selected, selection.placeholders(selected))
            if is_known(tag):
                return tag, None
            # A request may replace or deactivate a certificate between the two statements. To omit
            # it would end its service until the next poll.
            versions = [candidate.this_version for candidate in selected]
            unread = [version[0] for version in versions if version not in read]
            if unread:
                servable = self._candidates.with_keys(unread)
                read.update((item.candidate.this_version, item) for item in servable)
            if not unread or attempts == _MOST_ATTEMPTS:
                break
        with_key = [
            read[version]
            for version in versions
            if version in read and read[version].candidate.has_key
        ]
        pairs = self._key_release.release(principal, "traefik", with_key)
        # The selected candidates have all their hostnames, and Traefik serves them for all.
        released = {item.candidate.this_version for item, _ in pairs}
        delivered = [candidate for candidate in selected if candidate.this_version in released]
        placeholders = selection.placeholders(delivered)
        return _tag(delivered, placeholders), _configuration(pairs, placeholders)


def _chosen(
    hostname: str,
    candidates: list[Candidate],
    scope: TerminatorScope,
    now: datetime,
    key_types: frozenset[str] | None,
) -> Candidate | None:
    # The owner is decided among all users, before the scope hides some of them.
    selected = {
        key_type: candidate
        for key_type, candidate in decide(hostname, candidates, now).selected.items()
        if scope.has_user(candidate.user_id)
    }
    # If the client supports none of the key types, it reports that itself.
    return best(hostname, selected, key_types) or best(hostname, selected)


def _tag(certificates: list[Candidate], placeholders: list[str]) -> str:
    versions = [candidate.this_version for candidate in certificates]
    return tag_of(encode([versions, placeholders]))


def _configuration(pairs: list[tuple[Servable, Secret]], placeholders: list[str]) -> Secret:
    certificates = [TraefikPair(item.chain_pem, key.reveal().decode()) for item, key in pairs]
    certificates += [TraefikPair(*placeholder(name)) for name in placeholders]
    return Secret(encode(TraefikConfiguration(TraefikTls(certificates))))
