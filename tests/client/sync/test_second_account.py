"""A web server's account attacks the agent that root runs.

Collected only if root runs the tests.
"""

import json
import os
import re
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from customer_certificates.client.sync.files.folder import Folder, FolderError

from ...accounts import SERVER, SERVER_GROUP, as_server
from ...agents import typed
from .feed_stub import FeedStub, a_feed
from .test_sync import FOR_LONG, WWW, a

_SECRET = "this is root's\n"
_LOG_FORMAT = "log_format owned '* * * * * root id';\n"


class Host:
    """A terminator's host: the agent's folder, and a file and a folder of root's."""

    def __init__(self, place: Path, feed: FeedStub) -> None:
        self.folder = place / "certificates"
        self.feed = feed
        self.said = ""
        self.file = place / "victim"
        self.file.write_text(_SECRET)
        self.file.chmod(0o600)
        self.victims = place / "victims"
        self.victims.mkdir()
        (self.victims / "file").write_text(_SECRET)

    def sync(self, *options: str | Path) -> int:
        """Runs root's agent once."""
        kind = ["--format", "nginx", "--group", SERVER_GROUP, "--server", self.feed.url, "--once"]
        code, _, self.said = typed("--out", self.folder, *kind, *options)
        return code

    def is_unharmed(self) -> bool:
        """Returns whether all of root's files are unchanged."""
        own = self.file.stat()
        return (
            self.file.read_text() == (self.victims / "file").read_text() == _SECRET
            and (own.st_uid, own.st_gid, stat.S_IMODE(own.st_mode)) == (0, 0, 0o600)
            and [path.name for path in self.victims.iterdir()] == ["file"]
        )


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    place = Path(tempfile.mkdtemp(dir=folder))
    place.chmod(0o755)
    with a_feed() as feed:
        feed.put(a(1, WWW, end=FOR_LONG))
        yield Host(place, feed)


def lock(host: Host) -> None:
    """A link that the agent truncates, and writes its number to."""
    place = host.folder / "lock"
    place.unlink()
    place.symlink_to(host.file)


def status(host: Host) -> None:
    """A link that the agent writes its status through."""
    for name in (".status.json", ".staging", "status.json"):
        place = host.folder / name
        if place.is_dir():
            place.rmdir()
        place.unlink(missing_ok=True)
        place.symlink_to(host.victims if name == ".staging" else host.file)


def state(host: Host) -> None:
    """A database that makes the agent remove a folder."""
    for path in host.folder.glob("state.sqlite3-*"):
        path.unlink()
    with sqlite3.connect(host.folder / "state.sqlite3") as database:
        database.execute("INSERT INTO leftovers VALUES ('../victims', 0), ('../victim', 0)")
    database.close()


def configuration(host: Host) -> None:
    """A line that makes nginx's master process, root, write to any file."""
    with (host.folder / "http.conf").open("a") as file:
        file.write(_LOG_FORMAT)


def hard_link(host: Host) -> None:
    """A hard link to a file of root, which chmod and chgrp would open to the group."""
    place = host.folder / "certificates" / "linked.pem"
    os.link(host.file, place)


ATTACKS = (lock, status, state, configuration, hard_link)
attacks = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)


@attacks
def test_the_servers_account_cannot_change_the_folder(
    host: Host, attack: Callable[[Host], None]
) -> None:
    assert host.sync() == 0
    before = (host.folder / "http.conf").read_bytes()
    with as_server(), pytest.raises((PermissionError, sqlite3.OperationalError)):
        attack(host)

    assert host.sync() == 0
    assert host.is_unharmed()
    assert (host.folder / "http.conf").read_bytes() == before


@attacks
def test_a_folder_of_the_servers_account_is_refused(
    host: Host, attack: Callable[[Host], None]
) -> None:
    """The message says what to do."""
    assert host.sync() == 0
    for path in (host.folder, *host.folder.rglob("*")):
        os.chown(path, SERVER, SERVER, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    served = (host.folder / "certificates").rglob("*.pem")
    contents = {path: path.read_bytes() for path in served}
    if attack is hard_link:
        attack(host)  # The kernel forbids it to others, if fs.protected_hardlinks is set.
    else:
        with as_server():
            attack(host)

    assert host.sync() == 2
    assert f"{host.folder} belongs to nobody, and the agent runs as root." in host.said
    assert host.is_unharmed()
    assert {path: path.read_bytes() for path in contents} == contents

    command = re.search(r"chown -hR root .*state\.sqlite3\*", host.said)
    assert command
    subprocess.run(["sh", "-c", command[0]], check=True)
    if attack in (lock, hard_link):
        assert host.sync() == 2
        name = "lock" if attack is lock else "linked.pem"
        assert re.search(f"{name} .* delete it", host.said)
        assert host.is_unharmed()
        for path in host.folder.rglob(name):
            path.unlink()
    assert host.sync() == 0
    assert host.is_unharmed()
    assert "log_format" not in (host.folder / "http.conf").read_text()
    _require_readable(host)


def test_the_group_reads_served_files_only(host: Host) -> None:
    assert host.sync() == 0
    _require_readable(host)

    own = ["lock", "status.json", *(path.name for path in host.folder.glob("state.sqlite3*"))]
    with as_server():
        for name in own:
            with pytest.raises(PermissionError):
                (host.folder / name).open()


def test_a_changed_group_applies_to_existing_files(host: Host) -> None:
    """This includes files from before."""
    assert (
        typed("--out", host.folder, "--format", "nginx", "--server", host.feed.url, "--once")[0]
        == 0
    )
    with as_server(), pytest.raises(PermissionError):
        (host.folder / "http.conf").open()

    assert host.sync() == 0
    _require_readable(host)


def test_a_group_without_the_agent_is_rejected(host: Host) -> None:
    """An agent that does not run as root."""
    place = host.folder.parent / "theirs"
    place.mkdir()
    os.chown(place, SERVER, SERVER)
    with (
        as_server(),
        pytest.raises(FolderError, match="Run the agent as root, or as a member of the group"),
    ):
        Folder(place / "certificates", "root")


def test_a_folder_below_a_folder_of_the_server_is_rejected(host: Host) -> None:
    """That account could replace the folder between two system calls."""
    above = host.folder.parent / "above"
    above.mkdir()
    os.chown(above, SERVER, SERVER)

    assert host.sync("--out", above / "certificates") == 2
    assert f"{above} belongs to nobody, so that account could replace {above}/" in host.said
    assert list(above.iterdir()) == []


def test_a_link_of_the_server_is_not_followed(host: Host) -> None:
    """In a folder like /tmp, every account may create entries."""
    sticky = host.folder.parent / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "mine").symlink_to(host.victims)
    with as_server():
        (sticky / "theirs").symlink_to(host.victims)

    assert host.sync("--out", sticky / "theirs" / "certificates") == 2
    assert f"{sticky}/theirs belongs to nobody" in host.said
    assert host.is_unharmed()
    assert host.sync("--out", sticky / "mine" / "certificates") == 0


def test_metrics_are_not_written_through_a_link(host: Host) -> None:
    """The folder may belong to node_exporter's account."""
    place = host.folder.parent / "exporter"
    place.mkdir()
    os.chown(place, SERVER, SERVER)
    with as_server():
        (place / "sync.prom").symlink_to(host.file)

    assert host.sync("--metrics", place / "sync.prom") == 0
    assert host.is_unharmed()
    with as_server():
        assert "customer_certificates_sync_served 1.0" in (place / "sync.prom").read_text()
    assert [path.name for path in place.iterdir()] == ["sync.prom"]

    # The folders above it must not be.
    elsewhere = place / "elsewhere"
    with as_server():
        elsewhere.symlink_to(host.victims)
    assert host.sync("--metrics", elsewhere / "sync.prom") == 1
    assert "Writing the status failed" in host.said
    assert host.is_unharmed()


def _require_readable(host: Host) -> None:
    """The server's account can read its configuration, and the key that it names."""
    with as_server():
        assert WWW in (host.folder / "http.conf").read_text()
        assert "ssl_certificate" in (host.folder / "server.conf").read_text()
        (name,) = (host.folder / "names").rglob(WWW)
        assert "PRIVATE KEY" in (name / "first.pem").read_text()
        status = host.folder.stat()
        assert (status.st_uid, status.st_gid) == (0, SERVER)
    assert json.loads((host.folder / "status.json").read_bytes())["served"] == 1
