"""Finds the certificates of a text that may also have keys, without reading them."""

import base64
import binascii
import re
from collections.abc import Iterator

from ..asn1 import der
from .markers import plain_text

_BLOCK = re.compile(
    r"-----BEGIN (?P<label>(?:X509 )?CERTIFICATE)-----(?P<content>[A-Za-z0-9+/=\s]++)"
    r"-----END (?P=label)-----"
)


def blocks_of_certificates(text: str) -> Iterator[str]:
    """Yields the PEM blocks of `text` that have a certificate, and nothing else, in them."""
    for block in _BLOCK.finditer(plain_text(text)[0]):
        try:
            content = base64.b64decode("".join(block["content"].split()), validate=True)
            tags = [tag for tag, *_ in der.members(content)]
        except (binascii.Error, der.NotDer):
            continue
        # The members of a key have other types.
        if tags == [der.SEQUENCE, der.SEQUENCE, der.BIT_STRING]:
            yield f"{block[0]}\n"
