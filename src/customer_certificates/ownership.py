"""The rules about hostnames that the settings ask for."""

from urllib.parse import urlsplit

from .config import Config
from .pki.name_policy import NamePolicy
from .pki.names import normalise
from .services.hostname_ownership import OwnershipRules


def ownership_rules(config: Config) -> OwnershipRules:
    """Returns the rules by which hostnames are claimed."""
    own_host = urlsplit(config.public_url).hostname if config.public_url else None
    own = [name for name in (own_host, config.challenge_domain) if name]
    policy = NamePolicy(
        _normalized(config.reserved_hostnames), _normalized((*config.edge_targets, *own))
    )
    return OwnershipRules(policy, config.hostname_proof == "required")


def _normalized(names: tuple[str, ...]) -> list[str]:
    return [normalise(name) or name for name in names]
