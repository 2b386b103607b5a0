"""The current master key, and previous ones that still unwrap data keys."""

from collections.abc import Sequence
from pathlib import Path

from ...setting_parsers import MasterKeyAddress
from .base import MasterKey, MasterKeyError, WrongMasterKey
from .file import FileMasterKey, make

__all__ = ["MasterKey", "MasterKeyError", "MasterKeys", "WrongMasterKey", "make"]


class MasterKeys:
    """The master keys.

    `current` wraps data keys. Each key unwraps the data keys that it has wrapped.
    """

    def __init__(self, current: MasterKey, retiring: Sequence[MasterKey] = ()) -> None:
        self.current = current
        self._by_id = {key.id: key for key in (*retiring, current)}

    @property
    def ids(self) -> list[str]:
        """The IDs of all master keys."""
        return list(self._by_id)

    def of(self, master_key_id: str) -> MasterKey:
        """Returns the master key with that ID. Raises WrongMasterKey if it is not configured."""
        key = self._by_id.get(master_key_id)
        if key is None:
            raise WrongMasterKey(master_key_id)
        return key

    def close(self) -> None:
        """Closes the connections of all master keys."""
        for key in self._by_id.values():
            key.close()


def open_master_keys(
    current: MasterKeyAddress, retiring: Sequence[MasterKeyAddress], transit_token: str | None
) -> MasterKeys:
    """Opens the master keys at these addresses.

    Creates a missing file if `may_be_made` is set. Raises MasterKeyError if a key cannot be used.
    """
    return MasterKeys(
        _open(current, transit_token), [_open(address, transit_token) for address in retiring]
    )


def _open(address: MasterKeyAddress, transit_token: str | None) -> MasterKey:
    match address.kind:
        case "file":
            path = Path(address.where)
            if address.may_be_made:
                make(path, by_default=True)
            return FileMasterKey(path, by_default=address.may_be_made)
        case "transit":
            # Imported here, as most services use neither of the two.
            from .transit import TransitMasterKey

            return TransitMasterKey(address.where, transit_token)
        case "aws-kms":
            try:
                from .aws_kms import AwsKmsMasterKey
            except ImportError as error:
                raise MasterKeyError(
                    "CC_MASTER_KEY=aws-kms:… needs boto3. Install customer-certificates[aws-kms]."
                ) from error
            return AwsKmsMasterKey(address.where)
