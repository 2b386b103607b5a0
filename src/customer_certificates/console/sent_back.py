"""Returns a refused form as its page may show it again: without secrets."""

import re

from ..pki.pem.blocks import blocks_of_certificates
from .forms import Form

_SECRETS = frozenset(["password", "password_again", "passphrase", "private_key", "token"])
# A person may paste a key together with the certificate, or instead of it.
_CERTIFICATES = frozenset(["body", "chain"])
_SECRET = re.compile("PRIVATE KEY|whsec_|ccert_[a-z]+_", re.IGNORECASE)


def without_secrets(form: Form) -> Form:
    """Returns the form without files, secret fields, and texts with a key, token or secret.

    Of the fields for certificates, only the certificates remain.
    """
    return Form([(name, _shown(name, value)) for name, value in form.pairs], {})


def _shown(name: str, value: str) -> str:
    if name in _CERTIFICATES:
        return "".join(blocks_of_certificates(value))
    return "" if name in _SECRETS or _SECRET.search(value) else value
