"""A master key in the transit engine of OpenBao or HashiCorp Vault.

The key never leaves the engine.
"""

import base64
from typing import Any

import httpx

from ...crypto.secret import Secret
from .base import THREADS, MasterKeyError, WrongMasterKey, unavailable

_TIMEOUT_SECONDS = 5.0


class TransitMasterKey:
    """A key of an AEAD type (aes256-gcm96 by default). The engine is mounted at `transit/`."""

    def __init__(self, url: str, token: str | None) -> None:
        """`url` ends in the key's name. Raises MasterKeyError if no token is configured."""
        if not token:
            raise MasterKeyError(
                f"The master key transit:{url} needs a token. Set CC_TRANSIT_TOKEN_FILE."
            )
        self.id = f"transit:{url}"
        base, _, self._name = url.rpartition("/")
        self._client = httpx.Client(
            base_url=f"{base}/v1/transit/",
            headers={"X-Vault-Token": token},
            timeout=_TIMEOUT_SECONDS,
            # No proxy from the environment: it would read the token.
            trust_env=False,
        )

    def wrap(self, data_key: Secret, aad: bytes) -> bytes:
        answer = self._ask(
            "encrypt", plaintext=_base64(data_key.reveal()), associated_data=_base64(aad)
        )
        return str(answer["ciphertext"]).encode()

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        answer = self._ask(
            "decrypt", ciphertext=wrapped.decode("ascii", "replace"), associated_data=_base64(aad)
        )
        return Secret(base64.b64decode(answer["plaintext"]))

    def close(self) -> None:
        self._client.close()

    def _ask(self, operation: str, **values: str) -> dict[str, Any]:
        try:
            answer = THREADS.run(self._client.post, f"{operation}/{self._name}", json=values)
        except httpx.HTTPError as error:
            raise unavailable() from error
        if answer.status_code == httpx.codes.BAD_REQUEST and operation == "decrypt":
            raise WrongMasterKey(self.id)
        if answer.status_code != httpx.codes.OK:
            # Sealed, in maintenance, rate limited, or the token is no longer authorized.
            raise unavailable() from RuntimeError(f"{self.id}: {answer.status_code}")
        data: dict[str, Any] = answer.json()["data"]
        return data


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
