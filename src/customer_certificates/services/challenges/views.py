"""Challenges as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ...models import HostnameChallenge
from .checks import AliasRecord, DnsRecord, Records, Seen, Tokens, WebFile

State = Literal["pending", "verified", "contesting", "expired"]
_Time = Annotated[datetime, Meta(tz=True)]


class ChallengeView(msgspec.Struct):
    """The records to set, each of which proves the hostname, and how the challenge stands."""

    hostname: Annotated[str, Meta(description="The hostname.", examples=["www.example.com"])]
    state: Annotated[
        State,
        Meta(
            description="pending: no record was seen yet; the service checks from time to time. "
            "verified: the hostname is the user's. contesting: another user has proven it as well. "
            "expired: start again.",
            examples=["pending"],
        ),
    ]
    txt: Annotated[
        DnsRecord | None,
        Meta(description="A TXT record, beside others there; null: not for this name."),
    ]
    cname: Annotated[
        AliasRecord | None,
        Meta(
            description="In place of the TXT record, a CNAME record that may stay for good; null: "
            "not for this name, or not offered."
        ),
    ]
    http: Annotated[
        WebFile | None,
        Meta(
            description="A file over plain HTTP; null: not for this name. Wildcards, names that "
            "lead to this service and names under another user's wildcard need a DNS record."
        ),
    ]
    created_at: Annotated[_Time, Meta(description="When it was made.")]
    expires_at: Annotated[
        _Time | None,
        Meta(
            description="When it expires; while contesting, when that is decided. null: verified."
        ),
    ]
    next_check_at: Annotated[
        _Time | None, Meta(description="When the service checks next; null: it does not.")
    ]
    last_checked_at: Annotated[
        _Time | None, Meta(description="When it was checked last; null: not yet.")
    ]
    checks: Annotated[
        list[Seen],
        Meta(description="What the last check saw, by method. It ends with the first one found."),
    ]


def tokens_of(challenge: HostnameChallenge) -> Tokens:
    """The random parts of a challenge."""
    return Tokens(challenge.txt_token, challenge.cname_label, challenge.http_token)


def state_at(challenge: HostnameChallenge, *, is_owner: bool, now: datetime) -> State:
    """How a challenge stands. A verified one whose name is another's now has expired."""
    if challenge.state == "verified":
        return "verified" if is_owner else "expired"
    if challenge.state == "pending":
        return "pending" if now < challenge.expires_at else "expired"
    return "contesting" if challenge.state == "contesting" else "expired"


def challenge_view(
    challenge: HostnameChallenge,
    records: Records,
    *,
    http_refused: bool,
    is_owner: bool,
    now: datetime,
) -> ChallengeView:
    """The challenge as it stands. `is_owner`: the user has a proven claim of the hostname;
    `http_refused`: a file is not accepted."""
    state = state_at(challenge, is_owner=is_owner, now=now)
    seen = challenge.last_result
    return ChallengeView(
        challenge.hostname,
        state,
        records.txt,
        records.cname,
        None if http_refused or challenge.resolves_to_edge else records.http,
        challenge.created_at,
        challenge.expires_at if state != "verified" else None,
        challenge.next_check_at if state in ("pending", "contesting") else None,
        challenge.last_checked_at,
        msgspec.json.decode(seen, type=list[Seen]) if seen else [],
    )
