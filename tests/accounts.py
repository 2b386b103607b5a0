"""Other accounts than the one that runs the tests. Only root can become one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

# `nobody` and its group, by number: the account of a web server, say.
SERVER = 65534
SERVER_GROUP = "nogroup"


@contextmanager
def as_server() -> Iterator[None]:
    """Does the block as SERVER, with its group alone."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(SERVER)
    os.seteuid(SERVER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
