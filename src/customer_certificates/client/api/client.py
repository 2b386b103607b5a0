"""The service's API for the certificates of one user."""

from collections.abc import Collection
from contextlib import suppress
from types import NoneType
from typing import Any
from urllib.parse import quote

from ...pki.selection import key_type_of
from .connection import Server
from .responses import Expiring, Lost, Refused, Stored, Unreachable, ValidatedUpload
from .retries import PAGE, RetryingClient

AT_ONCE = 8


class Api(RetryingClient):
    """The certificates of one user. Safe to use from several threads."""

    def __init__(self, server: Server, user_id: int) -> None:
        super().__init__(server, AT_ONCE)
        self._user = f"/users/{user_id}"
        self._certificates = f"{self._user}/certificates"

    def require_user(self) -> None:
        """Raises Unreachable if the service is down, or Refused without such a user.

        Does not retry.
        """
        try:
            self._send(dict[str, Any], "GET", self._user)
        except Lost as lost:
            raise Unreachable(str(lost)) from None

    def find(self, fingerprint: str) -> Stored | None:
        """Returns the certificate with the SHA-256 `fingerprint`, or None.

        Of several, returns the first active one. Raises Refused, Unreachable.
        """
        path = f"{self._certificates}?fingerprint={fingerprint}"
        # Compare again: a service without this parameter would list all certificates.
        found = self._ask(list[Stored], "GET", path)
        same = [stored for stored in found if stored.fingerprint_sha256 == fingerprint]
        return min(same, key=_active_first, default=None)

    def find_predecessor(self, hostnames: Collection[str], key_type: str) -> Stored | None:
        """Returns the certificate for exactly `hostnames` with a key of `key_type` (`rsa`, …).

        Of several, returns the first active one. Raises Refused, Unreachable.
        """
        if not hostnames:
            return None
        name = quote(min(hostnames), safe="")
        path = f"{self._certificates}?hostname={name}&limit={PAGE}&after="
        found: list[Stored] = []
        # A page of large certificates may have fewer items than its limit.
        while page := self._ask(list[Stored], "GET", f"{path}{found[-1].id if found else 0}"):
            found += page
        same = [
            certificate
            for certificate in found
            if set(certificate.hostnames) == set(hostnames)
            and key_type_of(certificate.key_algorithm or "") == key_type
        ]
        return min(same, key=_active_first, default=None)

    def replace(self, certificate_id: int, fingerprint: str, payload: dict[str, Any]) -> Stored:
        """Stores `payload` as a certificate's next version, once even if responses are lost.

        Raises Refused, Unreachable.
        """
        path = f"{self._certificates}/{certificate_id}"
        return self._retry(Stored, "PUT", path, payload, lambda: self.find(fingerprint))[0]

    def expiring(self, days: int) -> list[Expiring]:
        """Returns the active certificates that expire within `days`, by expiry date.

        Raises Refused, Unreachable.
        """
        return self._items(Expiring, f"{self._user}/expiring?within={days}d&limit={PAGE}")

    def validate(self, payload: dict[str, Any], replaces: int | None = None) -> ValidatedUpload:
        """Validates an upload, or a replacement of `replaces`, without storing it.

        Raises Refused, Unreachable.
        """
        query = f"?replaces={replaces}" if replaces else ""
        return self._ask(ValidatedUpload, "POST", f"{self._certificates}/check{query}", payload)

    def activate(self, certificate_id: int) -> None:
        """Activates a certificate. Raises Refused, Unreachable."""
        path = f"{self._certificates}/{certificate_id}/active"
        self._ask(Stored, "PATCH", path, {"active": True})

    def upload(self, fingerprint: str, payload: dict[str, Any]) -> Stored:
        """Stores a certificate once, even if responses are lost, and returns it.

        Raises Refused, Unreachable.
        """
        stored, is_second = self._retry(
            Stored, "POST", self._certificates, payload, lambda: self.find(fingerprint)
        )
        return self._without_duplicate(stored, fingerprint) if is_second else stored

    def _without_duplicate(self, stored: Stored, fingerprint: str) -> Stored:
        """Deletes `stored` if an earlier attempt was stored after the search for it."""
        earliest = self.find(fingerprint) or stored
        if earliest.id != stored.id:
            with suppress(Refused):
                self._ask(NoneType, "DELETE", f"{self._certificates}/{stored.id}")
        return earliest


def _active_first(certificate: Stored) -> tuple[bool, int]:
    return not certificate.active, certificate.id
