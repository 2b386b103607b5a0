"""The agent's folder holds the certificates of the feed, even after failures."""

import json
import os
import resource
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.cli.terminators import default_name
from customer_certificates.client.sync import command as syncing
from customer_certificates.client.sync.command import SyncOptions

from ...agents import RunningAgent, typed
from ...monitoring import OF_AGENTS, names_in
from ...pki.authority import NOW, a_leaf, ec_key, issue, rsa_key
from .feed_stub import Entry, FeedStub, a_feed, entry

WWW = "www.example.com"
LATER = timedelta(minutes=2)
_NOBODY = 65534
# Agents in their own process use the real clock.
FOR_LONG = timedelta(days=9999)


def a(number: int, *names: str, **changes: Any) -> Entry:
    """A new certificate with an ECDSA key."""
    ends = changes.pop("end", timedelta(days=80))
    starts = changes.pop("start", timedelta(days=-10))
    leaf = a_leaf(names[0], names[0], hostnames=names, start=starts, end=ends)
    return entry(number, leaf, ec_key(names[0]), **changes)


class Keeper:
    """An agent that runs step by step, at a given time."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.format = "pem"
        self.check: str | None = None
        self.reload: str | None = None

    def sync(self, now: datetime = NOW, **changes: Any) -> int:
        options = SyncOptions(
            format=self.format,
            out=self.folder,
            server=self.url,
            name="edge-1",
            check=self.check,
            reload=self.reload,
            runtime=None,
            group=None,
            metrics=None,
        )
        return syncing.run(replace(options, **changes), lambda: None, lambda: now, once=True)

    @property
    def index(self) -> dict[str, dict[str, int]]:
        """The certificates that are served, by hostname and key type."""
        index = json.loads((self.folder / "index.json").read_bytes())
        return {
            name: {kind: int(Path(path).stem) for kind, path in files.items()}
            for name, files in index.items()
        }

    def files(self) -> dict[int, bytes]:
        """The certificate files, by id."""
        found = (self.folder / "certificates").rglob("*.pem")
        return {int(path.stem): path.read_bytes() for path in found}


@pytest.fixture
def keeper(tmp_path: Path, feed: FeedStub) -> Keeper:
    return Keeper(tmp_path / "certificates", feed.url)


def content(one: Entry) -> bytes:
    return f"{one['chain_pem']}{one['private_key_pem']}".encode()


def test_only_the_owner_can_read_a_certificate_file(keeper: Keeper, feed: FeedStub) -> None:
    www = a(7, WWW)
    feed.put(www)

    assert keeper.sync() == 0
    assert keeper.files() == {7: content(www)}
    assert keeper.index == {WWW: {"ecdsa": 7}}
    for path in [keeper.folder, *keeper.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_stored_certificates_are_not_fetched_again(keeper: Keeper, feed: FeedStub) -> None:
    feed.put(*(a(number, f"{number}.example.com") for number in range(1, 4)))
    keeper.sync()
    before = {path: path.stat().st_ino for path in keeper.folder.rglob("*.pem")}
    renewed = a(2, "2.example.com", version=2)
    feed.put(renewed)
    feed.asked.clear()

    assert keeper.sync() == 0
    assert "" not in feed.asked
    changed = [path for path, number in before.items() if path.stat().st_ino != number]
    assert [path.read_bytes() for path in changed] == [content(renewed)]


def test_the_file_of_an_inactive_certificate_is_removed_later(
    keeper: Keeper, feed: FeedStub
) -> None:
    """A reader may be about to open the file."""
    feed.put(a(1, WWW), a(2, "shop.example.com"))
    keeper.sync()
    feed.remove(1)

    keeper.sync()
    assert keeper.index == {"shop.example.com": {"ecdsa": 2}}
    assert keeper.files().keys() == {1, 2}
    keeper.sync(NOW + LATER)
    assert keeper.files().keys() == {2}


@pytest.mark.parametrize("pages", [1, 3])
def test_a_snapshot_replaces_everything(
    keeper: Keeper, feed: FeedStub, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    monkeypatch.setattr("customer_certificates.client.sync.feed._PAGE_SIZE", 6 // pages)
    feed.put(*(a(number, f"{number}.example.com") for number in range(1, 7)))
    keeper.sync()
    feed.remove(1, 6)
    feed.forget()
    feed.asked.clear()

    assert keeper.sync() == 0
    assert sorted(keeper.index) == [f"{number}.example.com" for number in range(2, 6)]
    assert keeper.sync(NOW + LATER) == 0
    assert sorted(keeper.files()) == [2, 3, 4, 5]


def test_an_interrupted_snapshot_continues(
    keeper: Keeper, feed: FeedStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer_certificates.client.sync.feed._PAGE_SIZE", 2)
    feed.put(*(a(number, f"{number}.example.com") for number in range(1, 7)))
    answer = feed.feed

    def once(since: str, wait: float, limit: int) -> bytes:
        feed.status = 503
        return answer(since, wait, limit)

    monkeypatch.setattr(feed, "feed", once)
    assert keeper.sync() == 1
    assert len(keeper.files()) == 2
    feed.status = 0
    monkeypatch.setattr(feed, "feed", answer)

    assert keeper.sync() == 0
    assert feed.asked.count("") == 1
    assert len(keeper.index) == 6


def test_time_alone_changes_what_is_served(keeper: Keeper, feed: FeedStub) -> None:
    feed.put(
        a(1, WWW, trust="public", end=timedelta(days=1)),
        a(2, WWW, trust="private", end=timedelta(days=9)),
        a(3, WWW, trust="public", start=timedelta(days=5)),
    )
    keeper.sync()
    days = [NOW, NOW + timedelta(days=2), NOW + timedelta(days=6), NOW + timedelta(days=99)]

    served = []
    for day in days:
        assert keeper.sync(day) == 0
        served.append(keeper.index)
    assert served == [{WWW: {"ecdsa": 1}}, {WWW: {"ecdsa": 2}}, {WWW: {"ecdsa": 3}}, {}]
    # A clock that was wrong, and was put right.
    keeper.sync()
    assert keeper.index == served[0]


def test_a_wildcard_is_served_for_a_missing_key_type(keeper: Keeper, feed: FeedStub) -> None:
    names = ["*.example.com"]
    leaf = issue("all", "all", key=rsa_key(), signer=rsa_key(), hostnames=names)
    feed.put(a(1, WWW), entry(2, leaf, rsa_key()))

    keeper.sync()
    assert keeper.index == {"*.example.com": {"rsa": 2}, WWW: {"ecdsa": 1, "rsa": 2}}
    feed.remove(2)
    keeper.sync()
    assert keeper.index == {WWW: {"ecdsa": 1}}


def test_the_agent_reports_served_certificates(keeper: Keeper, feed: FeedStub) -> None:
    www = a(1, WWW, trust="public")
    feed.put(www, a(2, WWW))
    keeper.sync()
    feed.remove(1)
    keeper.sync()
    keeper.sync()

    first, second, third = feed.reports
    assert (first["terminator"], first["format"]) == ("edge-1", "pem")
    assert first["served"] == [
        {"certificate_id": 1, "version": 1, "fingerprint_sha256": www["fingerprint_sha256"]}
    ]
    assert [one["certificate_id"] for one in second["served"]] == [2]
    assert second["dropped"] == [1]
    # Another process says that it is there, and nothing twice.
    assert (third["served"], third["dropped"]) == ([], [])


def test_served_files_stay_while_the_service_is_down(
    keeper: Keeper, feed: FeedStub, capfd: pytest.CaptureFixture[str]
) -> None:
    feed.put(a(1, WWW, end=timedelta(days=1)))
    keeper.sync()
    feed.status = 503

    assert keeper.sync() == 1
    assert "Following the feed failed: 503 Service Unavailable" in capfd.readouterr().err
    assert keeper.index == {WWW: {"ecdsa": 1}}
    # It knows by itself what has expired.
    assert keeper.sync(NOW + timedelta(days=2)) == 1
    assert keeper.index == {}


@pytest.mark.parametrize("kind", ["pem", "nginx", "haproxy"])
def test_hostnames_never_leave_the_folder(
    keeper: Keeper, feed: FeedStub, tmp_path: Path, kind: str
) -> None:
    """The hostnames of a hostile service do not either."""
    names = ["../../../lies", "a b", "x;}", "*", "/etc/lies", "www.example.com\nlies", ""]
    feed.put(a(1, WWW, hostnames=[*names, WWW]))

    assert keeper.sync(format=kind) == 0
    assert [path for path in tmp_path.rglob("*") if "lies" in str(path)] == []
    assert b"lies" not in b"".join(
        path.read_bytes() for path in keeper.folder.rglob("*") if path.is_file()
    )


def test_a_malformed_page_changes_nothing(
    keeper: Keeper, feed: FeedStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.put(a(1, WWW))
    keeper.sync()
    feed.put(a(2, WWW, fingerprint_sha256="../../lies"))

    assert keeper.sync() == 1
    assert keeper.index == {WWW: {"ecdsa": 1}}


@pytest.mark.parametrize("is_listed", [True, False])
def test_missing_files_are_fetched_again(keeper: Keeper, feed: FeedStub, is_listed: bool) -> None:
    feed.put(a(1, WWW), a(2, "shop.example.com"))
    keeper.sync()
    for path in keeper.folder.rglob("1.pem" if is_listed else "index.json"):
        path.unlink()

    assert keeper.sync() == 0
    assert keeper.files().keys() == {1, 2}
    assert keeper.index == {WWW: {"ecdsa": 1}, "shop.example.com": {"ecdsa": 2}}


@contextmanager
def small_files() -> Iterator[None]:
    """Limits files to 256 KiB. Writers get the same error as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def not_to_be_written(folder: Path) -> Iterator[None]:
    """Makes `folder` read-only, for root too."""
    paths = [folder, *folder.rglob("*")]
    folders = [path for path in paths if path.is_dir()]
    is_root = os.geteuid() == 0
    for path in folders:
        path.chmod(0o555)
    if is_root:
        for path in paths:
            os.chown(path, _NOBODY, -1, follow_symlinks=False)
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path in folders:
            path.chmod(0o700)


def test_a_full_disk_changes_nothing(
    keeper: Keeper, feed: FeedStub, capfd: pytest.CaptureFixture[str]
) -> None:
    www = a(1, WWW)
    feed.put(www)
    keeper.sync()
    large = a(1, WWW, version=2)
    large["chain_pem"] *= 1000
    feed.put(large)

    with small_files():
        assert keeper.sync() == 1
        assert f"{keeper.folder}: File too large.\n" in capfd.readouterr().err
    assert keeper.files() == {1: content(www)}
    assert list((keeper.folder / ".staging").iterdir()) == []
    assert keeper.sync() == 0
    assert keeper.files() == {1: content(large)}


def test_an_unwritable_folder_is_reported(
    keeper: Keeper, folder: Path, feed: FeedStub, capfd: pytest.CaptureFixture[str]
) -> None:
    keeper.folder = folder / "not-to-be-written"
    www = a(1, WWW)
    feed.put(www)
    keeper.sync()
    with not_to_be_written(keeper.folder):
        assert keeper.sync() == 2

    assert f"{keeper.folder} cannot be written to: Permission denied" in capfd.readouterr().err
    assert keeper.files() == {1: content(www)}


@pytest.fixture
def marks(tmp_path: Path) -> Callable[[str], str]:
    """A command that only creates a file."""
    return lambda name: f"touch {tmp_path / name}"


def test_a_check_precedes_a_reload(
    keeper: Keeper, feed: FeedStub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """If the check fails, the previous listing is restored."""
    feed.put(a(1, WWW))
    keeper.sync()
    listing = (keeper.folder / "index.json").read_bytes()
    feed.put(a(2, "shop.example.com"))
    keeper.reload = f"touch {tmp_path / 'reloaded'}"
    keeper.check = f"{sys.executable} -c 'import sys; sys.exit(\"no such cipher\")'"

    assert keeper.sync() == 1
    assert "exited with 1: no such cipher" in capfd.readouterr().err
    assert not (tmp_path / "reloaded").exists()
    assert (keeper.folder / "index.json").read_bytes() == listing
    # Nothing is said to be served that is not.
    assert feed.reports[-1]["served"] == []
    assert "no such cipher" in feed.reports[-1]["errors"][0]

    keeper.check = "true"
    assert keeper.sync() == 0
    assert (tmp_path / "reloaded").exists()
    assert keeper.index.keys() == {WWW, "shop.example.com"}
    assert [one["certificate_id"] for one in feed.reports[-1]["served"]] == [2]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("false", "`false` exited with 1"),
        ("/no/such/program", "`/no/such/program` cannot be run: [Errno 2]"),
        ("'unclosed", "`'unclosed` cannot be run: No closing quotation"),
    ],
)
def test_a_failed_reload_is_retried(
    keeper: Keeper, feed: FeedStub, capfd: pytest.CaptureFixture[str], command: str, reason: str
) -> None:
    feed.put(a(1, WWW))
    keeper.reload = command

    assert keeper.sync() == 1
    assert reason in capfd.readouterr().err
    assert keeper.index == {WWW: {"ecdsa": 1}}
    keeper.reload = "true"
    assert keeper.sync() == 0


@pytest.mark.parametrize("kind", ["nginx", "pem"])
def test_nginx_is_not_reloaded_for_a_renewal(
    keeper: Keeper, feed: FeedStub, tmp_path: Path, kind: str
) -> None:
    keeper.format = kind
    keeper.reload = f"touch {tmp_path / 'reloaded'}"
    feed.put(a(1, WWW))
    keeper.sync()
    (tmp_path / "reloaded").unlink()
    feed.put(a(1, WWW, version=2))

    assert keeper.sync() == 0
    assert (tmp_path / "reloaded").exists() == (kind != "nginx")


def test_a_folder_is_for_one_agent_and_one_format(
    keeper: Keeper, feed: FeedStub, capfd: pytest.CaptureFixture[str]
) -> None:
    agent = RunningAgent(keeper.folder, feed.url, "--format", "pem")
    try:
        agent.wait_for(lambda status: status.is_current)
        assert keeper.sync() == 2
    finally:
        assert agent.stop() == 0
    said = capfd.readouterr().err
    assert f"Another agent (process {agent.process.pid}) is using {keeper.folder}." in said

    assert keeper.sync(format="nginx") == 2
    assert "holds files for pem. Choose another folder for nginx." in capfd.readouterr().err


def test_another_service_is_read_from_its_beginning(keeper: Keeper, feed: FeedStub) -> None:
    feed.put(a(1, WWW))
    keeper.sync()
    with a_feed() as other:
        other.put(a(9, "shop.example.com"))
        keeper.url = other.url

        assert keeper.sync() == 0
    assert keeper.index == {"shop.example.com": {"ecdsa": 9}}


def test_private_keys_are_only_in_their_files(
    keeper: Keeper, feed: FeedStub, capfd: pytest.CaptureFixture[str]
) -> None:
    www = a(1, WWW)
    feed.put(www)
    for kind in ("pem", "nginx", "haproxy"):
        keeper.sync(format=kind, out=keeper.folder / kind)
    said = capfd.readouterr()

    secret = www["private_key_pem"].splitlines()[1]
    holders = [
        path.name
        for path in keeper.folder.rglob("*")
        if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes()
    ]
    assert len(holders) == 3
    assert all(name.startswith("1") and name.endswith(".pem") for name in holders)
    assert secret not in said.out + said.err + json.dumps(feed.reports)


def test_an_agent_follows_the_feed_until_it_is_stopped(tmp_path: Path, feed: FeedStub) -> None:
    """Meanwhile, its token is rotated and its service restarts."""
    token, metrics = tmp_path / "token", tmp_path / "sync.prom"
    token.write_text("old\n")
    feed.token = "old"
    feed.put(a(1, WWW, end=FOR_LONG))
    options = ["--format", "pem", "--token-file", str(token), "--metrics", str(metrics)]
    folder = tmp_path / "certificates"
    agent = RunningAgent(folder, feed.url, *options, "--name", "edge-1")
    try:
        agent.wait_for(lambda status: status.served == 1 and status.is_current)
        feed.token = "new"
        feed.put(a(2, "shop.example.com", end=FOR_LONG))
        # Its reports are refused as well, perhaps first.
        agent.wait_for(lambda _: "Following the feed failed" in agent.log.read_text())
        token.write_text("new\n")
        found = agent.wait_for(lambda status: status.served == 2 and status.is_current)
        assert (found.terminator, found.certificates, found.hostnames) == ("edge-1", 2, 2)
        assert "customer_certificates_sync_served 2.0" in metrics.read_text()
        assert names_in(metrics.read_text()) >= OF_AGENTS
    finally:
        assert agent.stop() == 0
    said = agent.log.read_text()
    assert "Following the feed failed: Not like this." in said
    assert "Following the feed works again." in said


def test_status_prints_the_state_of_the_agent(
    tmp_path: Path, feed: FeedStub, capfd: pytest.CaptureFixture[str]
) -> None:
    feed.put(a(1, WWW, end=FOR_LONG))
    folder = tmp_path / "certificates"
    nobody = typed("--out", folder, "--status")
    agent = RunningAgent(folder, feed.url, "--format", "pem")
    try:
        agent.wait_for(lambda status: status.is_current)
        well = typed("--out", folder, "--status")
        as_json = typed("--out", folder, "--status", "--json")
    finally:
        agent.stop()
    ended = typed("--out", folder, "--status")

    assert [code for code, _, _ in (nobody, well, ended)] == [1, 0, 1]
    assert "No agent has written a status to" in nobody[2]
    assert "1 of 1 certificates, 1 names" in well[1]
    status = json.loads(as_json[1])
    assert (as_json[0], status["served"], status["is_running"]) == (0, 1, True)
    assert "by an agent that is not running" in ended[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--format", "pem", "--server", "localhost"], "'localhost' is not a URL"),
        ([], "A format is required"),
        (["--format", "nginx", "--runtime", "/run/x"], "Only HAProxy"),
        (["--format", "pem", "--group", "no-such-group"], "no group no-such-group"),
    ],
)
def test_invalid_options_are_rejected(tmp_path: Path, options: list[str], reason: str) -> None:
    code, _, said = typed("--out", tmp_path / "certificates", "--once", *options)

    assert code == 2
    assert reason in said


def test_each_agent_of_a_host_has_its_own_default_name(keeper: Keeper, feed: FeedStub) -> None:
    """By default, and the same id for as long as its folder is there."""
    for out in (keeper.folder, keeper.folder.with_name("others")):
        for _ in range(2):
            typed("--out", out, "--format", "pem", "--server", feed.url, "--once")

    words = str(keeper.folder.parent).strip("/").replace("/", "-")
    host = f"{socket.gethostname()}/pem/{words}"
    names = [one["terminator"] for one in feed.reports]
    assert names == [f"{host}-certificates"] * 2 + [f"{host}-others"] * 2
    ids = [one["instance"] for one in feed.reports]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    long = default_name("edge-1", "pem", Path("/" + "long/" * 100))
    assert len(long) == 200
    assert long != default_name("edge-1", "pem", Path("/" + "long/" * 101))


def test_a_name_that_another_agent_uses_is_reported(
    keeper: Keeper, feed: FeedStub, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its certificates are served anyway."""
    feed.put(a(1, WWW))
    feed.report_status = 409

    assert keeper.sync() == 1
    assert "Reporting failed: Not like this." in capfd.readouterr().err
    assert keeper.index == {WWW: {"ecdsa": 1}}


def test_wildcards_are_not_served_for_names_of_other_users(keeper: Keeper, feed: FeedStub) -> None:
    """By the owner's certificate, by one that has expired, and by one that cannot be served."""
    feed.put(
        a(1, "*.example.com", user_id=1),
        a(2, WWW, user_id=2, end=timedelta(days=1)),
        {
            "certificate_id": 3,
            "user_id": 2,
            "active": False,
            "reserved_hostnames": ["shop.example.com"],
        },
    )
    keeper.sync()
    served = {"*.example.com": {"ecdsa": 1}}
    assert keeper.index == {**served, WWW: {"ecdsa": 2}, "shop.example.com": {}}
    keeper.sync(NOW + timedelta(days=2))
    assert keeper.index == {**served, WWW: {}, "shop.example.com": {}}

    feed.put(a(3, "shop.example.com", user_id=2))
    feed.remove(2)
    keeper.sync(NOW + timedelta(days=2))
    assert keeper.index == {**served, WWW: {"ecdsa": 1}, "shop.example.com": {"ecdsa": 3}}


@pytest.mark.parametrize("forgets", [False, True])
def test_a_haproxy_wildcard_leaves_out_other_users_names(
    keeper: Keeper, feed: FeedStub, forgets: bool
) -> None:
    """HAProxy would choose it for its key type."""

    def filters() -> list[str]:
        lines = (keeper.folder / "crt-list").read_text().splitlines()
        return sorted(line.partition(" ")[2] for line in lines)

    keeper.format = "haproxy"
    reserved = {"certificate_id": 3, "user_id": 2, "active": False}
    feed.put(a(1, "*.example.com", user_id=1))
    keeper.sync()
    assert filters() == ["!*", "*.example.com"]
    key = rsa_key()
    leaf = issue(WWW, WWW, key=key, signer=key, hostnames=[WWW], end=timedelta(days=80))
    feed.put(
        entry(2, leaf, key, user_id=2), {**reserved, "reserved_hostnames": ["shop.example.com"]}
    )
    keeper.sync()
    wildcard = "!shop.example.com !www.example.com *.example.com"
    assert filters() == ["!*", wildcard, WWW]
    if forgets:
        feed.forget()
        keeper.sync()
        assert filters() == ["!*", wildcard, WWW]

    feed.put(a(2, WWW, user_id=2, version=2), reserved)
    keeper.sync()
    assert filters() == ["!*", "*.example.com", WWW]
