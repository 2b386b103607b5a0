"""What a certificate is uploaded as."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from ..errors import Finding
from ..pki.material import Material

_BASE64 = {"pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"}
_PEM = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"
_NO_NUL = r"^[^\x00]*$"

Body = Annotated[
    str,
    Meta(
        min_length=1,
        pattern=_NO_NUL,
        description="The certificate in PEM, alone or with its chain, in any order.",
        examples=[_PEM],
    ),
]
Chain = Annotated[
    str,
    Meta(
        pattern=_NO_NUL,
        description="The intermediates in PEM, where body has the certificate alone.",
        examples=[_PEM],
    ),
]
PrivateKey = Annotated[
    bytes,
    Meta(
        min_length=1,
        description="Base64 of the key in PEM or DER: PKCS#8 (encrypted too), PKCS#1 or SEC1. The "
        "standard alphabet, padded, without line breaks.",
        examples=["LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCg=="],
        extra_json_schema=_BASE64,
    ),
]
Pkcs12 = Annotated[
    bytes,
    Meta(
        min_length=1,
        description="Base64 of a PKCS#12 file (.p12, .pfx), in place of body and private_key.",
        examples=["MIIKPwIBAzCCCfUGCSqGSIb3DQ=="],
        extra_json_schema=_BASE64,
    ),
]
Passphrase = Annotated[
    Annotated[str, Meta(max_length=1024)] | None,
    Meta(
        description="What the key or the PKCS#12 file is encrypted with. Not stored.",
        examples=["correct horse battery staple"],
    ),
]

ActivateAt = Annotated[
    Annotated[datetime, Meta(tz=True)] | None,
    Meta(
        description="When it is to be served: a time in the future, at which it is valid.",
        examples=["2026-12-24T00:00:00Z"],
    ),
]


class CertificateMaterial(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A certificate and its private key, as its owner has them: body and private_key, or pkcs12."""

    # JSON Schema's words for it: one of these sets of fields must be there.
    alternatives: ClassVar = (("body", "private_key"), ("pkcs12",))

    body: Body = ""
    chain: Chain = ""
    private_key: PrivateKey = b""
    pkcs12: Pkcs12 = b""
    passphrase: Passphrase = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __post_init__(self) -> None:
        sent = (("body", self.body), ("private_key", self.private_key), ("pkcs12", self.pkcs12))
        if self.faults([name for name, value in sent if value]):
            raise ValueError("body and private_key, or pkcs12")

    @staticmethod
    def faults(names: Collection[str]) -> list[Finding]:
        """What is wrong with sending fields of these names together: one is missing, or one too
        many."""
        if "pkcs12" not in names:
            return [
                Finding(
                    "required",
                    name,
                    f"{name} is missing.",
                    f"Send {name}; or, with neither body nor private_key, a PKCS#12 file as "
                    "pkcs12; see /docs.",
                )
                for name in ("body", "private_key")
                if name not in names
            ]
        return [
            Finding(
                "conflicting_fields",
                name,
                f"{name} was sent as well as pkcs12, which has both certificate and key.",
                "Send one or the other.",
            )
            for name in ("body", "private_key")
            if name in names
        ]

    def material(self) -> Material:
        """What is to be examined."""
        return Material(self.body, self.chain, self.private_key, self.pkcs12, self.passphrase)


class CertificateUpload(CertificateMaterial, kw_only=True):
    """A certificate to store."""

    active: Annotated[bool, Meta(description="Whether it is to be served at once.")] = False
    activate_at: ActivateAt = None


class Replacement(CertificateMaterial, kw_only=True):
    """What a certificate is to be replaced with."""

    allow_lost_hostnames: Annotated[
        bool,
        Meta(description="Replace it even if hostnames are then without a working certificate."),
    ] = False
    activate_at: ActivateAt = None


class CertificateCheck(Replacement, kw_only=True):
    """What is to be checked: the payload of an upload or of a replacement, as it is."""

    active: Annotated[bool, Meta(description="Not looked at.")] = False


class Rollback(msgspec.Struct, forbid_unknown_fields=True):
    """The version that is to be served again."""

    version: Annotated[int, Meta(ge=1, le=2**31 - 1, description="Which.", examples=[1])]
    allow_lost_hostnames: Annotated[
        bool,
        Meta(description="Roll back even if hostnames are then without a working certificate."),
    ] = False


class Activation(msgspec.Struct, forbid_unknown_fields=True):
    """Whether a certificate is to be served."""

    active: Annotated[bool, Meta(description="Whether it is to be served.", examples=[True])]
    notify: Annotated[bool, Meta(description="Whether other systems are to be told.")] = True
    allow_lost_hostnames: Annotated[
        bool,
        Meta(description="Deactivate it even if hostnames are then without a certificate."),
    ] = False
