"""Challenges in responses."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from ...field_docs import Time, doc
from ...models import HostnameChallenge
from .checks import AliasRecord, DnsRecord, Records, Seen, Tokens, WebFile

State = Literal["pending", "verified", "contesting", "expired"]


class ChallengeView(msgspec.Struct):
    """The records to set, each of which proves the hostname, and the challenge's state."""

    hostname: Annotated[str, doc("The hostname.", "www.example.com")]
    state: Annotated[
        State,
        doc(
            "pending: no record found yet; the service checks from time to time. "
            "verified: the user owns the hostname. contesting: another user proved control, too. "
            "expired: create the challenge again.",
            "pending",
        ),
    ]
    txt: Annotated[DnsRecord | None, doc("A TXT record, beside others if any. null: not possible.")]
    cname: Annotated[
        AliasRecord | None,
        doc("A permanent CNAME record, instead. null: not possible or not offered."),
    ]
    http: Annotated[
        WebFile | None,
        doc(
            "A file over plain HTTP. null: not possible for this hostname. Wildcards, "
            "hostnames that resolve to this service and hostnames under another user's "
            "wildcard need a DNS record."
        ),
    ]
    created_at: Annotated[Time, doc("When the challenge was created.")]
    expires_at: Annotated[
        Time | None, doc("When it expires, or a contest is decided. null: verified.")
    ]
    next_check_at: Annotated[
        Time | None, doc("When the service checks next. null: no check is scheduled.")
    ]
    last_checked_at: Annotated[Time | None, doc("When the service last checked. null: not yet.")]
    checks: Annotated[
        list[Seen], doc("What the last check saw, by method. It stops when one is found.")
    ]


def tokens_of(challenge: HostnameChallenge) -> Tokens:
    """Returns the random parts of a challenge."""
    return Tokens(challenge.txt_token, challenge.cname_label, challenge.http_token)


def state_at(challenge: HostnameChallenge, *, is_owner: bool, now: datetime) -> State:
    """Returns the state of a challenge. A verified one expires with the user's ownership."""
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
    """Returns the view of the challenge.

    `is_owner`: the user has a proven claim of the hostname. `http_refused`: why a file is not
    accepted.
    """
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
