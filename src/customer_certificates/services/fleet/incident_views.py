"""The certificates that an incident of a CA affects, in responses."""

from datetime import datetime
from typing import Annotated

import msgspec

from ...field_docs import doc
from ...pki.submission import HOSTNAMES

_TIME = "2026-11-23T09:30:00Z"


class IncidentCounts(msgspec.Struct):
    """The progress of an incident."""

    affected: Annotated[
        int, doc("Certificates with a version that matches and has not expired.", 120, ge=0)
    ] = 0
    active: Annotated[int, doc("Those whose current version matches, and is active.", 15, ge=0)] = 0
    notified: Annotated[int, doc("Those with an event for webhooks since `since`.", 110, ge=0)] = 0
    replaced: Annotated[int, doc("Those with a replacement.", 100, ge=0)] = 0
    verified_served: Annotated[
        int, doc("Those whose replacement a probe of a terminator received.", 90, ge=0)
    ] = 0
    still_served: Annotated[
        int, doc("Those of which a terminator still serves a version that matches.", 25, ge=0)
    ] = 0


class AffectedView(msgspec.Struct):
    """A certificate with a version that matches."""

    id: Annotated[int, doc("The certificate's id.", 1, ge=1)]
    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]
    external_id: Annotated[str | None, doc("The user's external id.", "crm-4711")]
    hostnames: Annotated[list[str], HOSTNAMES]
    active: Annotated[bool, doc("Whether terminators may serve it.", True)]
    version: Annotated[int, doc("Its current version.", 2, ge=1)]
    affected_version: Annotated[
        int, doc("Its latest version that matches. It may wait for its cutover.", 1, ge=1)
    ]
    serial: Annotated[str | None, doc("The serial number of that version.", "4aa1b2c3")]
    not_after: Annotated[datetime, doc("When that version expires.", _TIME, tz=True)]
    notified: Annotated[bool, doc("It has an event for webhooks since `since`.", True)]
    replaced: Annotated[
        bool,
        doc(
            "A later version does not match, or it is inactive and other active certificates of "
            "the user have all its hostnames.",
            True,
        ),
    ]
    verified_served: Annotated[bool, doc("A probe of a terminator received the replacement.", True)]
    still_served: Annotated[
        bool, doc("A terminator reports that it serves a version that matches.", False)
    ]


class IncidentView(msgspec.Struct):
    """The progress of an incident, and a page of its certificates."""

    as_of: Annotated[datetime, doc("The time of the numbers.", _TIME, tz=True)]
    since: Annotated[datetime, doc("Events since then count as notifications.", _TIME, tz=True)]
    counts: Annotated[IncidentCounts, doc("The numbers of certificates, on all pages.")]
    certificates: Annotated[list[AffectedView], doc("Affected certificates by id.")]
