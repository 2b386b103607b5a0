"""Certificates of all users in responses."""

from datetime import datetime
from typing import Annotated

import msgspec

from ...field_docs import doc
from ...gateways.database.prepared import Row
from ...pki.selection import NotServableReason
from ...pki.submission import (
    FINGERPRINT,
    HOSTNAMES,
    ISSUER,
    KEY_ALGORITHM,
    NOT_AFTER,
    NOT_BEFORE,
    SERIAL,
    SPKI,
    SUBJECT,
    Trust,
)
from ..certificates.views import (
    NOT_SERVABLE_REASON,
    SERVABLE,
    Status,
    not_servable_reason,
    status_of,
)
from ..expiry.upcoming import ExpiringView
from ..labels import Labels


class FleetCertificate(msgspec.Struct):
    """A certificate of any user, without its PEM texts and findings."""

    id: Annotated[int, doc("The certificate's id.", 1, ge=1)]
    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]
    external_id: Annotated[
        str | None, doc("The external id of its user. null: none.", "customer-4711")
    ]
    hostnames: Annotated[list[str], HOSTNAMES]
    subject: Annotated[str | None, SUBJECT]
    issuer: Annotated[str | None, ISSUER]
    serial: Annotated[str | None, SERIAL]
    not_before: Annotated[datetime | None, NOT_BEFORE]
    not_after: Annotated[datetime | None, NOT_AFTER]
    status: Annotated[
        Status, doc("By its dates, if it is not valid now; otherwise by `active`.", "active")
    ]
    active: Annotated[bool, doc("Whether terminators may serve it.", True)]
    servable: Annotated[bool, SERVABLE]
    not_servable_reason: Annotated[NotServableReason | None, NOT_SERVABLE_REASON]
    trust: Annotated[Trust, doc("The trust level.", "public")]
    key_algorithm: Annotated[str | None, KEY_ALGORITHM]
    fingerprint_sha256: Annotated[str | None, FINGERPRINT]
    spki_sha256: Annotated[str | None, SPKI]
    version: Annotated[int, doc("1 for the upload; each replacement adds 1.", 1, ge=1)]
    labels: Labels


class FleetExpiringView(ExpiringView):
    """An active certificate of any user that expires soon, or has expired."""

    user_id: Annotated[int, doc("The user that owns it.", 1, ge=1)]


_DERIVED = ("external_id", "status", "servable", "not_servable_reason")
_DECIDES = ("serve_not_before", "serve_not_after", "not_servable")
# The columns of a row for `fleet_certificate`, which are followed by the external id.
SHOWN = (*(name for name in FleetCertificate.__struct_fields__ if name not in _DERIVED), *_DECIDES)


def fleet_certificate(row: Row, as_of: datetime) -> FleetCertificate:
    """Returns the certificate of a row with the columns SHOWN, with its status at `as_of`."""
    *values, external_id = row
    columns = dict(zip(SHOWN, values, strict=True))
    begin, end = columns["not_before"], columns["not_after"]
    served = (columns.pop("serve_not_before"), columns.pop("serve_not_after"))
    reason = not_servable_reason(
        columns["trust"], (begin, end), served, columns.pop("not_servable"), as_of
    )
    columns["hostnames"] = msgspec.json.decode(columns["hostnames"])
    columns["labels"] = msgspec.json.decode(columns["labels"])
    return FleetCertificate(
        **columns,
        external_id=external_id,
        status=status_of(columns["active"], begin, end, as_of),
        servable=reason is None,
        not_servable_reason=reason,
    )
