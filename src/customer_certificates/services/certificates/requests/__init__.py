"""Request bodies for certificates."""

from collections.abc import Container, Iterator, Mapping
from importlib.resources import files
from typing import Annotated, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ....errors import Finding
from ....field_docs import Time, doc
from ....pki.submission import Submission
from ...labels import Labels
from .encoded_fields import decode_field, not_decodable

_FOUR = "[A-Za-z0-9+/_-]{4}(\\r?\\n)*"
_BASE64 = f"({_FOUR})*({_FOUR}|[A-Za-z0-9+/_-]{{2}}(==)?|[A-Za-z0-9+/_-]{{3}}=?)(\\r?\\n)*"
_FILE = {"pattern": f"^{_BASE64}$|-----BEGIN"}
# Fields sent as base64 (a key also as PEM).
_FILES = ("private_key", "pkcs12")
_NO_NUL = r"^[^\x00]*$"
# A certificate for www.example.com and its key. The key is public: never use it for anything else.
_EXAMPLE = msgspec.json.decode(files(__name__).joinpath("example_pair.json").read_bytes())

Body = Annotated[
    str,
    doc(
        "The certificate in PEM, alone or with its chain, in any order.",
        _EXAMPLE["body"],
        min_length=1,
        pattern=_NO_NUL,
        extra={"form": "PEM text without NUL characters"},
    ),
]
Chain = Annotated[
    str,
    doc(
        "The intermediates in PEM, if body contains the certificate alone.",
        _EXAMPLE["body"],
        pattern=_NO_NUL,
        extra={"form": "PEM text without NUL characters"},
    ),
]
PrivateKey = Annotated[
    str,
    doc(
        "Base64 of the key in PEM or DER: PKCS#8 (also encrypted), PKCS#1 or "
        "SEC1. PEM text is accepted as well, and base64 that is URL-safe, has line breaks or "
        "lacks padding. A finding then says so.",
        _EXAMPLE["private_key"],
        min_length=1,
        extra={"form": "the base64 of a key file"},
        extra_json_schema=_FILE,
    ),
]
Pkcs12 = Annotated[
    str,
    doc(
        "Base64 of a PKCS#12 file (.p12, .pfx), instead of body and private_key.",
        _EXAMPLE["pkcs12"],
        min_length=1,
        extra={"form": "the base64 of a PKCS#12 file"},
        extra_json_schema=_FILE,
    ),
]
Passphrase = Annotated[
    Annotated[str, Meta(max_length=1024)] | None,
    doc(
        "The passphrase of the key or the PKCS#12 file. Not stored.", "correct horse battery staple"
    ),
]

ActivateAt = Annotated[Time | None, doc("When to activate it, if not now.", "2026-12-24T00:00:00Z")]


class CertificateMaterial(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A certificate and its private key: either body and private_key, or pkcs12."""

    # For the JSON Schema: one of these sets of fields is required.
    alternatives: ClassVar = (("body", "private_key"), ("pkcs12",))

    body: Body = ""
    chain: Chain = ""
    private_key: PrivateKey = ""
    pkcs12: Pkcs12 = ""
    passphrase: Passphrase = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __post_init__(self) -> None:
        fields = {name: getattr(self, name) for name in ("body", *_FILES)}
        if self.faults({name: value for name, value in fields.items() if value}):
            raise ValueError("body and private_key, or pkcs12")

    @staticmethod
    def faults(fields: Mapping[str, object]) -> list[Finding]:
        """Returns the problems of these fields together: missing, one too many, not decodable.

        A field of the wrong type is None in `fields`.
        """
        return [*_wrong_set(fields), *_undecodable(fields)]

    def submission(self) -> Submission:
        """Returns what validation needs, with the files decoded."""
        private_key, of_key = decode_field(self.private_key, "private_key")
        pkcs12, of_file = decode_field(self.pkcs12, "pkcs12")
        return Submission(
            self.body, self.chain, private_key, pkcs12, self.passphrase, (*of_key, *of_file)
        )


def _undecodable(fields: Mapping[str, object]) -> Iterator[Finding]:
    for name in _FILES:
        value = fields.get(name)
        if isinstance(value, str):
            try:
                decode_field(value, name)
            except ValueError:
                yield not_decodable(name)


def _wrong_set(names: Container[str]) -> Iterator[Finding]:
    for name in ("body", "private_key"):
        if "pkcs12" not in names and name not in names:
            hint = (
                f"Send {name}; or, instead of both body and private_key, a PKCS#12 file as "
                "pkcs12. See /docs."
            )
            yield Finding("required", name, f"{name} is missing.", hint)
        elif "pkcs12" in names and name in names:
            detail = (
                f"{name} was sent together with pkcs12, which contains both certificate and key."
            )
            yield Finding("conflicting_fields", name, detail, "Send one or the other.")


GrantHostnames = Annotated[
    bool, doc("Grant the hostnames to the user, without a proof of control (operators only).")
]


_AllowLostHostnames = Annotated[
    bool, doc("Do it even if that leaves hostnames without a working certificate.")
]


class CertificateUpload(CertificateMaterial, kw_only=True):
    """A certificate to store."""

    active: Annotated[bool, doc("Whether to activate it at once.")] = False
    activate_at: ActivateAt = None
    grant_hostnames: GrantHostnames = False
    labels: Labels = {}


class Replacement(CertificateMaterial, kw_only=True):
    """The certificate that replaces another one."""

    allow_lost_hostnames: _AllowLostHostnames = False
    activate_at: ActivateAt = None
    grant_hostnames: GrantHostnames = False
    labels: Annotated[Labels | UnsetType, doc("The new labels. Omitted: unchanged.")] = UNSET


class CertificateChanges(msgspec.Struct, forbid_unknown_fields=True):
    """The changes to a certificate that is not replaced."""

    labels: Labels


class CertificateCheck(Replacement, kw_only=True):
    """A certificate to validate: the payload of an upload or of a replacement, unchanged."""

    active: Annotated[bool, doc("Ignored.")] = False


class Rollback(msgspec.Struct, forbid_unknown_fields=True):
    """The version to roll back to."""

    version: Annotated[int, doc("The version to roll back to.", 1, ge=1, le=2**31 - 1)]
    allow_lost_hostnames: _AllowLostHostnames = False


class Activation(msgspec.Struct, forbid_unknown_fields=True):
    """Whether to serve a certificate."""

    active: Annotated[bool, doc("Whether to serve the certificate.", True)]
    notify: Annotated[bool, doc("Whether to send webhooks.")] = True
    allow_lost_hostnames: _AllowLostHostnames = False
    grant_hostnames: GrantHostnames = False
