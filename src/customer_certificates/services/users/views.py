"""Users in responses."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta


class UserView(msgspec.Struct, kw_only=False):
    """A user, without secrets."""

    id: Annotated[int, Meta(ge=1, description="The user's id.", examples=[1])]
    name: Annotated[str, Meta(description="The user's name.", examples=["Ada Lovelace"])]
    email: Annotated[
        str,
        Meta(
            description="The email address, as it was last written.", examples=["ada@example.com"]
        ),
    ]
    email_verified: Annotated[
        bool,
        Meta(
            description="Whether the user verified the address. No notices are sent to it before.",
            examples=[False],
        ),
    ]
    created_at: Annotated[
        datetime,
        Meta(
            tz=True, description="When the user was registered.", examples=["2026-11-23T09:30:00Z"]
        ),
    ]
