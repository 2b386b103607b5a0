"""Delivers certificates with their keys to terminators: one by hostname, or all."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from ...crypto.secret import Secret
from ...errors import NotFound
from ...gateways.database import Database
from ...pki.placeholders import placeholder
from ...pki.selection import Candidate, best, decide
from ..certificates.candidates import Candidates, Servable
from ..etags import encode, tag_of
from ..principal import Principal, TerminatorScope
from .key_release import KeyRelease
from .traefik_selection import TraefikSelection

# A certificate that is replaced at each attempt is omitted, so that it does not delay the others.
_MOST_LOOKS = 5


class TraefikPair(msgspec.Struct, rename="camel"):
    """A Traefik certificate. Traefik accepts the content instead of file names."""

    cert_file: Annotated[str, Meta(description="The chain, in PEM.")]
    key_file: Annotated[str, Meta(description="The private key, in PEM (PKCS#8).")]


class TraefikTls(msgspec.Struct):
    """Traefik's certificates."""

    certificates: Annotated[list[TraefikPair], Meta(description="The certificates, by id.")]


class TraefikConfiguration(msgspec.Struct):
    """Traefik's dynamic configuration, with certificates only."""

    tls: Annotated[TraefikTls, Meta(description="The terminator's software.")]


class Terminators:
    """Delivers keys to callers whose permissions were checked, and records it (KeyRelease)."""

    def __init__(
        self,
        database: Database,
        candidates: Candidates,
        served_keys: KeyRelease,
        now: Callable[[], datetime],
    ) -> None:
        self._candidates = candidates
        self._selection = TraefikSelection(database)
        self._served_keys = served_keys
        self._now = now

    def bundle(
        self, caller: Principal, hostname: str, key_types: frozenset[str] | None
    ) -> Secret | None:
        """Returns the PEM to serve for `hostname` (normalized): the chain, then its key.

        Prefers a key type among `key_types`, those that the client supports. Returns None if
        nothing can be served. Raises Unavailable.
        """
        if not caller.terminator_scope.has_name(hostname):
            return None
        now = self._now()

        def choose(candidates: list[Candidate]) -> Candidate | None:
            return _chosen(hostname, candidates, caller.terminator_scope, now, key_types)

        chosen = self._candidates.servable(hostname, choose)
        for one, key in self._served_keys.release(caller, "caddy", [chosen] if chosen else []):
            chain = one.chain_pem.encode()
            return Secret(chain + b"\n" * (not chain.endswith(b"\n")) + key.reveal())
        return None

    def require_served(self, caller: Principal, hostname: str) -> None:
        """Raises NotFound if no certificate can be served for `hostname`."""
        now, found = self._now(), self._candidates.served(hostname)
        candidates = [one.candidate for one in found]
        if not (
            caller.terminator_scope.has_name(hostname)
            and _chosen(hostname, candidates, caller.terminator_scope, now, None)
        ):
            raise NotFound(f"No certificate can be served for {hostname}.")

    def configuration(
        self, caller: Principal, is_known: Callable[[str], bool]
    ) -> tuple[str, Secret | None]:
        """Returns Traefik's dynamic configuration and its entity tag.

        Returns None instead, and reads no key, if `is_known` says that the caller already has the
        tag. The configuration has the certificates that are the best for one of their hostnames,
        and placeholders for names that another user's wildcard would be served for. For the same
        certificates it is the same, byte for byte. Raises Unavailable, or Conflict if there are too
        many.
        """
        read: dict[tuple[int, int], Servable] = {}
        looks = 0
        while True:
            looks += 1
            selection = self._selection.of(caller.terminator_scope, self._now())
            selected = selection.certificates
            tag = _tag(selected, selection.placeholders(selected))
            if is_known(tag):
                return tag, None
            # A request may replace or deactivate a certificate between the two statements. To omit
            # it would end its service until the next poll.
            chosen = [one.this_version for one in selected]
            unread = [number for number, version in chosen if (number, version) not in read]
            if unread:
                found = self._candidates.with_keys(unread)
                read.update((one.candidate.this_version, one) for one in found)
            if not unread or looks == _MOST_LOOKS:
                break
        servable = [read[one] for one in chosen if one in read and read[one].candidate.has_key]
        pairs = self._served_keys.release(caller, "traefik", servable)
        # The selected candidates have all their hostnames, and Traefik serves them for all.
        handed_out = {one.candidate.this_version for one, _ in pairs}
        given = [one for one in selected if one.this_version in handed_out]
        placeholders = selection.placeholders(given)
        return _tag(given, placeholders), _configuration(pairs, placeholders)


def _chosen(
    hostname: str,
    candidates: list[Candidate],
    reach: TerminatorScope,
    now: datetime,
    key_types: frozenset[str] | None,
) -> Candidate | None:
    # The owner is decided among all users, before the scope hides some of them.
    selected = {
        key_type: one
        for key_type, one in decide(hostname, candidates, now).selected.items()
        if reach.has_user(one.user_id)
    }
    # If the client supports none of the key types, it reports that itself.
    return best(hostname, selected, key_types) or best(hostname, selected)


def _tag(certificates: list[Candidate], placeholders: list[str]) -> str:
    return tag_of(encode([[one.this_version for one in certificates], placeholders]))


def _configuration(pairs: list[tuple[Servable, Secret]], placeholders: list[str]) -> Secret:
    certificates = [TraefikPair(one.chain_pem, key.reveal().decode()) for one, key in pairs]
    certificates += [TraefikPair(*placeholder(name)) for name in placeholders]
    return Secret(encode(TraefikConfiguration(TraefikTls(certificates))))
