"""Converts the fields of the forms for certificates to fields of the API."""

import base64
import re

from ....pki.pem.markers import is_pem
from ...forms import Form, text_of

# A browser sends a local time without seconds, unless they were entered.
_WITHOUT_SECONDS = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}")


def material(form: Form) -> dict[str, object]:
    """Returns the certificate, its chain and its key. A file counts instead of pasted text."""
    fields: dict[str, object] = {}
    for name in ("body", "chain"):
        if content := form.files.get(f"{name}_file"):
            fields[name] = _certificates_in(content)
        elif form[name].strip():
            fields[name] = form[name]
    if key := form.files.get("private_key_file"):
        fields["private_key"] = _encoded(key)
    elif text := form["private_key"].strip():
        content = text.encode()
        fields["private_key"] = _encoded(content) if is_pem(content) else text
    if file := form.files.get("pkcs12_file"):
        fields["pkcs12"] = _encoded(file)
    if form["passphrase"]:
        fields["passphrase"] = form["passphrase"]
    return fields


def activation(form: Form) -> dict[str, object]:
    """Returns the time of the activation, if it was requested for later."""
    if form["activation"] != "later":
        return {}
    text = form["activate_at"].strip()
    if _WITHOUT_SECONDS.fullmatch(text):
        text += ":00"
    # The label of the field says that it is in UTC.
    return {"activate_at": f"{text}Z" if text else text}


def _certificates_in(content: bytes) -> str:
    """Returns a file of certificates as text. A file that is no text is sent as DER in PEM."""
    if (text := text_of(content)) is not None:
        return text
    encoded = base64.encodebytes(content).decode()
    return f"-----BEGIN CERTIFICATE-----\n{encoded}-----END CERTIFICATE-----\n"


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
