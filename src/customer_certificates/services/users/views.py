"""Users in responses."""

from datetime import datetime
from typing import Annotated

import msgspec

from ...field_docs import doc
from ..labels import ExternalId, Labels


class UserView(msgspec.Struct, kw_only=False):
    """A user, without secrets."""

    id: Annotated[int, doc("The user's id.", 1, ge=1)]
    name: Annotated[str, doc("The user's name.", "Ada Lovelace")]
    email: Annotated[str, doc("The email address, as it was last written.", "ada@example.com")]
    email_verified: Annotated[
        bool, doc("Whether the user verified the address. No notices are sent to it before.", False)
    ]
    created_at: Annotated[
        datetime, doc("When the user was registered.", "2026-11-23T09:30:00Z", tz=True)
    ]
    external_id: ExternalId
    labels: Labels
