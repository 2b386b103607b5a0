"""A master key in AWS KMS, which never leaves KMS.

boto3 finds the region and the credentials. It is an optional dependency:
customer-certificates[aws-kms].
"""

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ...crypto.secret import Secret
from .base import THREADS, MasterKeyError, WrongMasterKey, unavailable

_SETTINGS = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
_WRONG = {"InvalidCiphertextException", "IncorrectKeyException"}


class AwsKmsMasterKey:
    """A symmetric key in KMS. The associated data is its encryption context."""

    def __init__(self, arn: str) -> None:
        """`arn` is the key's. Raises MasterKeyError if boto3 cannot connect."""
        self.id = f"aws-kms:{arn}"
        self._arn = arn
        try:
            region = arn.split(":")[3]
            self._client = boto3.client("kms", region_name=region, config=_SETTINGS)
        except BotoCoreError as error:
            raise MasterKeyError(f"The master key {self.id} cannot be used: {error}.") from error

    def wrap(self, data_key: Secret, aad: bytes) -> bytes:
        try:
            answer = THREADS.run(
                self._client.encrypt,
                KeyId=self._arn,
                Plaintext=data_key.reveal(),
                EncryptionContext=_context(aad),
            )
        except (BotoCoreError, ClientError) as error:
            raise unavailable() from error
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, aad: bytes) -> Secret:
        try:
            answer = THREADS.run(
                self._client.decrypt,
                KeyId=self._arn,
                CiphertextBlob=wrapped,
                EncryptionContext=_context(aad),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _WRONG:
                raise WrongMasterKey(self.id) from None
            raise unavailable() from error
        except BotoCoreError as error:
            raise unavailable() from error
        return Secret(bytes(answer["Plaintext"]))

    def close(self) -> None:
        self._client.close()


def _context(aad: bytes) -> dict[str, str]:
    """Returns the encryption context.

    AWS writes it to its log: it contains only a user's number.
    """
    return {"customer-certificates": aad.hex()}
