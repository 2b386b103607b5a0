"""The master keys: the one that wraps new data keys, and those that still unwrap older ones."""

from collections.abc import Sequence
from pathlib import Path

from ...config import MasterKeyAddress
from .base import MasterKey, MasterKeyError, WrongMasterKey
from .file import FileMasterKey, make

__all__ = ["MasterKey", "MasterKeyError", "MasterKeys", "WrongMasterKey", "make"]


class MasterKeys:
    """`current` wraps; any of them unwraps what it has wrapped."""

    def __init__(self, current: MasterKey, retiring: Sequence[MasterKey] = ()) -> None:
        self.current = current
        self._by_id = {key.id: key for key in (*retiring, current)}

    @property
    def ids(self) -> list[str]:
        """The ids of all of them."""
        return list(self._by_id)

    def of(self, master_key_id: str) -> MasterKey:
        """The master key of that id. Raises WrongMasterKey where it is none of these."""
        key = self._by_id.get(master_key_id)
        if key is None:
            raise WrongMasterKey(master_key_id)
        return key

    def close(self) -> None:
        """Closes the connections of all of them."""
        for key in self._by_id.values():
            key.close()


def open_master_keys(
    current: MasterKeyAddress,
    retiring: Sequence[MasterKeyAddress],
    transit_token: str | None,
) -> MasterKeys:
    """The master keys at these addresses; a file that may be made and is not there is made.

    Raises MasterKeyError for one that cannot be used.
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
            # Here, as most services have no use for it, nor for the next.
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
