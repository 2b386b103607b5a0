"""Findings about private keys that cannot be read, or only with corrections."""

from collections.abc import Sequence

from ...errors import Finding

GET_IT_AGAIN = "Send the original key that was generated with the certificate request."

_MOST_NAMED = 5

# Commands with which customers can inspect and decrypt the content of a field.
_TRY = {"pkcs12": "openssl pkcs12 -in file.p12 -info -noout"}
_OPEN = {"pkcs12": "openssl pkcs12 -in file.p12 -nodes -out plain.pem"}
_ANEW = {
    "pkcs12": "openssl pkcs12 -legacy -in old.p12 -nodes | openssl pkcs12 -export -out new.p12"
}


def invalid(detail: str, hint: str, field: str) -> Finding:
    """Returns `key_invalid`: the key cannot be used."""
    return Finding("key_invalid", field, detail, hint)


def damaged(what: str, field: str) -> Finding:
    """Returns `key_invalid` for a damaged key."""
    return invalid(f"The private key is damaged: {what}.", GET_IT_AGAIN, field)


def unknown_encryption(algorithm: str, field: str) -> Finding:
    """Returns `key_invalid` for data encrypted with an unknown `algorithm`."""
    detail = f"{field} is encrypted with an unsupported algorithm ({algorithm})."
    hint = "Encrypt it again: " + _ANEW.get(field, "openssl pkcs8 -topk8 -in key.pem -out new.pem")
    return invalid(detail, hint, field)


def several(algorithms: Sequence[str], field: str) -> Finding:
    """Returns `key_invalid` for several different keys of these `algorithms`."""
    more = ", …" if len(algorithms) > _MOST_NAMED else ""
    names = ", ".join(algorithms[:_MOST_NAMED]) + more
    detail = f"{field} contains {len(algorithms)} different private keys ({names})."
    return invalid(detail, "Send only the key that belongs to the certificate.", field)


def encrypted(field: str) -> Finding:
    """Returns `key_encrypted`: the request has no passphrase."""
    what = "The private key" if field == "private_key" else field
    detail = f"{what} is encrypted and the request has no passphrase."
    command = _OPEN.get(field, "openssl pkey -in key.pem -out plain.pem")
    hint = f"Send passphrase, or decrypt it first: {command}"
    return Finding("key_encrypted", "passphrase" if field == "pkcs12" else field, detail, hint)


def passphrase_wrong(field: str) -> Finding:
    """Returns `passphrase_wrong`, which cannot be told apart from damage to `field`."""
    detail = f"The passphrase does not decrypt {field}, or {field} is damaged."
    command = _TRY.get(field, "openssl pkey -in key.pem -noout")
    hint = f"Check upper case and spaces. Test it: {command}"
    return Finding("passphrase_wrong", "passphrase", detail, hint)


def passphrase_unused(field: str) -> Finding:
    """Returns `passphrase_unused`: nothing is encrypted."""
    detail = f"The request has a passphrase, but {field} is not encrypted."
    return Finding("passphrase_unused", "passphrase", detail, "Leave passphrase out.", "info")


def base64_twice(field: str) -> Finding:
    """Returns `base64_twice`; the key was decoded all the same."""
    detail = f"{field} was base64-encoded twice. The service decoded it twice."
    return Finding("base64_twice", field, detail, "Encode the file once: base64 -w0 FILE", "info")
