"""Users as clients see them."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta


class UserView(msgspec.Struct, kw_only=False):
    """A user, without anything secret."""

    id: Annotated[int, Meta(ge=1, description="The user's id.", examples=[1])]
    name: Annotated[str, Meta(description="What to call the user.", examples=["Ada Lovelace"])]
    email: Annotated[str, Meta(description="As it was last written.", examples=["ada@example.com"])]
    email_verified: Annotated[
        bool,
        Meta(
            description="Whether the address is known to be the user's; no notice is mailed to it "
            "before.",
            examples=[False],
        ),
    ]
    created_at: Annotated[
        datetime,
        Meta(tz=True, description="When it was registered.", examples=["2026-11-23T09:30:00Z"]),
    ]
