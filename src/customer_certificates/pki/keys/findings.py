"""What there is to say of private keys that cannot be read, or could be only just."""

from collections.abc import Sequence

from ...errors import Finding

GET_IT_AGAIN = "Send the key that was made with the certificate's request, unchanged."

_MOST_NAMED = 5

# Commands with which their owners look at, and open, what is in a field.
_TRY = {"pkcs12": "openssl pkcs12 -in file.p12 -info -noout"}
_OPEN = {"pkcs12": "openssl pkcs12 -in file.p12 -nodes -out plain.pem"}
_ANEW = {
    "pkcs12": "openssl pkcs12 -legacy -in old.p12 -nodes | openssl pkcs12 -export -out new.p12"
}


def invalid(detail: str, hint: str, field: str) -> Finding:
    """`key_invalid`: it is no key that can be used."""
    return Finding("key_invalid", field, detail, hint)


def damaged(what: str, field: str) -> Finding:
    """`key_invalid`, of a key that was one."""
    return invalid(f"The private key is damaged: {what}.", GET_IT_AGAIN, field)


def unknown_encryption(algorithm: str, field: str) -> Finding:
    """`key_invalid`, of what is encrypted with `algorithm`."""
    return invalid(
        f"{field} is encrypted in a way that is not known here ({algorithm}).",
        "Encrypt it anew: " + _ANEW.get(field, "openssl pkcs8 -topk8 -in key.pem -out new.pem"),
        field,
    )


def several(algorithms: Sequence[str], field: str) -> Finding:
    """`key_invalid`, of keys that differ and are of these `algorithms`."""
    more = ", …" if len(algorithms) > _MOST_NAMED else ""
    return invalid(
        f"{field} has {len(algorithms)} different private keys in it"
        f" ({', '.join(algorithms[:_MOST_NAMED])}{more}).",
        "Send the one that belongs to the certificate.",
        field,
    )


def encrypted(field: str) -> Finding:
    """`key_encrypted`, where no passphrase came with it."""
    what = "The private key" if field == "private_key" else field
    return Finding(
        "key_encrypted",
        "passphrase" if field == "pkcs12" else field,
        f"{what} is encrypted and no passphrase was sent.",
        "Send passphrase, or decrypt it first: "
        + _OPEN.get(field, "openssl pkey -in key.pem -out plain.pem"),
    )


def passphrase_wrong(field: str) -> Finding:
    """`passphrase_wrong`; nothing tells that from damage to what is in `field`."""
    return Finding(
        "passphrase_wrong",
        "passphrase",
        f"The passphrase does not open {field}, or {field} is damaged.",
        "Check upper case and spaces. "
        f"Test it: {_TRY.get(field, 'openssl pkey -in key.pem -noout')}",
    )


def passphrase_unused(field: str) -> Finding:
    """`passphrase_unused`, where nothing is encrypted."""
    return Finding(
        "passphrase_unused",
        "passphrase",
        f"A passphrase was sent, but {field} is not encrypted.",
        "Leave passphrase out.",
        "info",
    )


def base64_twice(field: str) -> Finding:
    """`base64_twice`, of what was understood all the same."""
    return Finding(
        "base64_twice",
        field,
        f"{field} was encoded in base64 twice; it was decoded twice.",
        "Encode the file once: base64 -w0 FILE",
        "info",
    )
