"""The rules about hostnames that the settings ask for."""

from urllib.parse import urlsplit

from ..config import Config
from ..pki.names.hostnames import normalise
from ..pki.names.policy import NamePolicy
from ..services.hostnames.changes import OwnershipRules


def ownership_rules(config: Config) -> OwnershipRules:
    """Returns the rules by which hostnames are claimed."""
    reserved = (*config.reserved_hostnames, *_own_names(config))
    policy = NamePolicy(_normalized(reserved), _normalized(config.edge_targets))
    return OwnershipRules(policy, config.hostname_proof == "required")


def _own_names(config: Config) -> list[str]:
    """The hostnames of the service itself."""
    host = urlsplit(config.public_url or "").hostname
    return [one for one in (host, config.challenge_domain) if one]


def _normalized(names: tuple[str, ...]) -> list[str]:
    return [normalise(name) or name for name in names]
