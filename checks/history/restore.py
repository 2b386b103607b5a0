"""A restore from a backup: what was written after the backup is gone, and must not be shown."""

import random

from .client import Target, UserClient
from .lives import FIRST_VALUE, Outcome, content_of, outcome_of
from .operations import State
from .recording import Recording
from .stack import Stack

_NAME = "restored"
# Enough for each worker of each service to be asked, most likely.
_READS = 12


def restore(stack: Stack, seed: int) -> Outcome:
    """Backs PostgreSQL up, has a user changed, restores, and has it changed otherwise.

    Nobody else may ask for anything meanwhile. The client knows revisions from before the restore.
    """
    choices = random.Random(seed)
    client = UserClient("client", stack.urls, Recording(None), choices, ids={})
    client.user = client.register(_NAME) or 0
    _upload(client, "kept")
    backup = stack.back_up()
    _upload(client, "undone")
    _read(client)
    stack.restore(backup)
    client.recording = Recording(None)
    client.read_at_last("list")
    _upload(client, "later")
    _read(client)
    initial = State(_NAME, frozenset({("kept", FIRST_VALUE)}))
    return outcome_of("restored user", [client], client.recording.history(), initial)


def _upload(client: UserClient, label: str) -> None:
    path = f"/users/{client.user}/certificates"
    content = {**content_of(label, 1), "active": True}
    client.write(
        Target(f"upload {label}", label, None, FIRST_VALUE, "POST", path, content), keyed=True
    )


def _read(client: UserClient) -> None:
    for number in range(_READS):
        client.read("list", conditional=number % 2 == 1)
        client.read("active")
