"""The rules about hostnames that the settings ask for."""

from urllib.parse import urlsplit

from .config import Config
from .pki.name_policy import NamePolicy
from .pki.names import normalise
from .services.hostname_ownership import OwnershipRules


def ownership_rules(config: Config) -> OwnershipRules:
    """Returns the rules by which hostnames are claimed."""
    own = (urlsplit(config.public_url).hostname or "",) if config.public_url else ()
    policy = NamePolicy(
        _normalized(config.reserved_hostnames + own), _normalized(config.edge_targets)
    )
    return OwnershipRules(policy, config.hostname_proof == "required")


def _normalized(names: tuple[str, ...]) -> list[str]:
    return [normalise(name) or name for name in names]
