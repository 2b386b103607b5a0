"""Returns a refused form as its page may show it again: without secrets."""

import base64
import binascii
import re
from collections.abc import Iterator

from ..pki.asn1 import der
from ..pki.pem.markers import plain_text
from .forms import Form

_SECRETS = frozenset(["password", "password_again", "passphrase", "private_key", "token"])
# A person may paste a key together with the certificate, or instead of it.
_CERTIFICATES = frozenset(["body", "chain"])
_SECRET = re.compile("PRIVATE KEY|whsec_|ccert_[a-z]+_", re.IGNORECASE)
_BLOCK = re.compile(
    r"-----BEGIN (?P<label>(?:X509 )?CERTIFICATE)-----(?P<content>[A-Za-z0-9+/=\s]++)"
    r"-----END (?P=label)-----"
)


def without_secrets(form: Form) -> Form:
    """Returns the form without files, secret fields, and texts with a key, token or secret.

    Of the fields for certificates, only the certificates remain.
    """
    return Form([(name, _shown(name, value)) for name, value in form.pairs], {})


def _shown(name: str, value: str) -> str:
    if name in _CERTIFICATES:
        return "".join(_certificates_in(plain_text(value)[0]))
    return "" if name in _SECRETS or _SECRET.search(value) else value


def _certificates_in(text: str) -> Iterator[str]:
    for block in _BLOCK.finditer(text):
        try:
            content = base64.b64decode("".join(block["content"].split()), validate=True)
            tags = [tag for tag, *_ in der.members(content)]
        except (binascii.Error, der.NotDer):
            continue
        # The members of a key have other types.
        if tags == [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
            yield f"{block[0]}\n"
