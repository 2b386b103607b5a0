"""The summary of all certificates, in responses."""

from datetime import date, datetime
from typing import Annotated

import msgspec

from ...field_docs import doc

_Number = Annotated[int, doc("Number of certificates.", 12, ge=0)]


class ByStatus(msgspec.Struct):
    """Certificates by status, as in the lists of certificates."""

    active: _Number = 0
    inactive: _Number = 0
    expired: _Number = 0
    not_yet_valid: _Number = 0


class ByDays(msgspec.Struct):
    """Certificates by the days until they expire, counted in dates of UTC.

    A certificate that expires later today has 0 days.
    """

    expired: _Number = 0
    days_0_to_7: _Number = 0
    days_8_to_30: _Number = 0
    days_31_to_60: _Number = 0
    days_61_to_90: _Number = 0
    over_90_days: _Number = 0
    unreadable: Annotated[int, doc("Certificates without readable dates.", 0, ge=0)] = 0


class ByTrust(msgspec.Struct):
    """Certificates by trust, as in the lists of certificates."""

    public: _Number = 0
    private: _Number = 0
    self_signed: _Number = 0
    incomplete: _Number = 0
    unreadable: _Number = 0


class ByServability(msgspec.Struct):
    """Active certificates by why no server may serve them now."""

    servable: Annotated[int, doc("Certificates that servers may serve now.", 12, ge=0)] = 0
    unreadable: _Number = 0
    no_key: _Number = 0
    not_loadable: _Number = 0
    expired: _Number = 0
    not_yet_valid: _Number = 0
    chain_expired: _Number = 0
    chain_not_yet_valid: _Number = 0


class OfIssuer(msgspec.Struct):
    """The certificates of an issuer."""

    issuer: Annotated[
        str | None,
        doc(
            "The issuer, or its first 500 characters. null: it could not be read.",
            "CN=R10,O=Let's Encrypt,C=US",
        ),
    ]
    certificates: _Number


class OfKeyAlgorithm(msgspec.Struct):
    """The certificates with a type of key."""

    key_algorithm: Annotated[
        str | None, doc("Type and size of the key. null: it could not be read.", "ECDSA-P-256")
    ]
    certificates: _Number


class OfDay(msgspec.Struct):
    """The active certificates that expire on a day."""

    date: Annotated[date, doc("The day in UTC.", "2026-12-24")]
    certificates: _Number


class SummaryView(msgspec.Struct):
    """The numbers of certificates of all users."""

    as_of: Annotated[datetime, doc("The time of the numbers.", "2026-11-23T09:30:00Z", tz=True)]
    certificates: Annotated[int, doc("All certificates, without earlier versions.", 12, ge=0)]
    status: Annotated[ByStatus, doc("All certificates by status.")]
    days: Annotated[ByDays, doc("All certificates by the days until they expire.")]
    active_days: Annotated[
        ByDays, doc("Certificates that are set active, by the days until they expire.")
    ]
    servable: Annotated[
        ByServability, doc("Certificates that are set active, by why no server may serve them now.")
    ]
    trust: Annotated[ByTrust, doc("All certificates by trust.")]
    issuers: Annotated[list[OfIssuer], doc("The 20 issuers with the most certificates.")]
    other_issuers: Annotated[int, doc("Certificates of all other issuers.", 0, ge=0)]
    key_algorithms: Annotated[
        list[OfKeyAlgorithm], doc("The 20 types of keys with the most certificates.")
    ]
    other_key_algorithms: Annotated[int, doc("Certificates with other types of keys.", 0, ge=0)]
    expiries: Annotated[
        list[OfDay],
        doc(
            "Certificates that are set active, by the day on which they expire: today and 90 days."
        ),
    ]
