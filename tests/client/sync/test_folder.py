"""The agent's folder: entries that the agent did not make are neither followed nor used."""

import grp
import itertools
import math
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.client.sync.files.directory import UntrustedError
from customer_certificates.client.sync.files.folder import Folder, FolderError
from customer_certificates.client.sync.state.pending import Reports
from customer_certificates.client.sync.state.state import State

from ...agents import typed
from ...pki.authority import NOW
from .feed_stub import FeedStub
from .test_sync import LATER, WWW, Keeper, a, content

_SECRET = b"this is somebody's own"


@pytest.fixture
def keeper(tmp_path: Path, feed: FeedStub) -> Keeper:
    return Keeper(tmp_path / "certificates", feed.url)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside of the agent's folder, which must not change."""
    (tmp_path / "victims").mkdir()
    file = tmp_path / "victims" / "file"
    file.write_bytes(_SECRET)
    file.chmod(0o600)
    return file


def symbolic_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def hard_link(place: Path, victim: Path) -> None:
    os.link(victim, place)


def fifo(place: Path, _: Path) -> None:
    os.mkfifo(place)


def unix_socket(place: Path, _: Path) -> None:
    # bind(2) takes short paths only.
    os.mknod(place, stat.S_IFSOCK | 0o600)


def a_folder(place: Path, _: Path) -> None:
    place.mkdir()


KINDS = (symbolic_link, hard_link, fifo, unix_socket, a_folder)
each_kind = pytest.mark.parametrize("plant", KINDS, ids=lambda plant: plant.__name__)


@pytest.mark.parametrize(
    ("name", "plant"),
    [
        *(("lock", kind) for kind in KINDS),
        *(("state.sqlite3", kind) for kind in KINDS),
        ("state.sqlite3-wal", hard_link),
        ("state.sqlite3-journal", symbolic_link),
    ],
)
def test_a_replaced_file_of_the_agent_is_rejected(
    keeper: Keeper,
    feed: FeedStub,
    victim: Path,
    name: str,
    plant: Callable[[Path, Path], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    keeper.folder.mkdir(mode=0o700)
    plant(keeper.folder / name, victim)

    assert keeper.sync() == 2
    said = capfd.readouterr().err
    assert f"{keeper.folder / name} " in said
    assert "The agent did not do this. Find out why, then delete it." in said
    assert victim.read_bytes() == _SECRET


@each_kind
@pytest.mark.parametrize("name", ["status.json", "index.json", ".staging"])
def test_a_link_in_place_of_a_file_is_not_followed(
    keeper: Keeper, feed: FeedStub, victim: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    keeper.folder.mkdir(mode=0o700)
    to = victim.parent if (plant, name) == (symbolic_link, ".staging") else victim
    plant(keeper.folder / name, to)
    feed.put(a(1, WWW))

    # A file does not replace a folder.
    assert keeper.sync() in ((1, 2) if plant is a_folder and name != ".staging" else (0, 2))

    assert victim.read_bytes() == _SECRET
    assert [path.name for path in victim.parent.iterdir()] == ["file"]
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


def test_reading_a_status_that_is_a_pipe_does_not_block(keeper: Keeper) -> None:
    keeper.folder.mkdir()
    os.mkfifo(keeper.folder / "status.json")

    code, _, said = typed("--out", keeper.folder, "--status")
    assert code == 1
    assert "status.json is not a regular file" in said


def test_a_replaced_subfolder_is_not_followed(tmp_path: Path, victim: Path) -> None:
    """The folder is replaced after a file was staged and before it is moved."""
    with closing(Folder(tmp_path / "certificates")) as folder:
        folder.write("certificates/ab/1.pem", b"old")
        folder.switch()
        folder.write("certificates/ab/file", b"new")
        (folder.root / "certificates" / "ab").rename(tmp_path / "aside")
        (folder.root / "certificates" / "ab").symlink_to(victim.parent)
        with pytest.raises(UntrustedError, match="certificates/ab is not a folder"):
            folder.switch()
        with pytest.raises(UntrustedError, match="is not a folder"):
            folder.remove("certificates/ab/file")
        with pytest.raises(UntrustedError, match="is not a folder"):
            folder.read("certificates/ab/file")

        assert victim.read_bytes() == _SECRET
        assert list((folder.root / ".staging").iterdir()) == []
        (folder.root / "certificates" / "ab").unlink()
        folder.write("certificates/ab/1.pem", b"new")
        folder.switch()
        assert folder.read("certificates/ab/1.pem") == b"new"


@pytest.mark.parametrize(
    "path",
    ["../victims/file", "/etc/passwd", "a/../../victims/file", "..", ".", "", "a//b", "a\0b"],
)
def test_no_path_leaves_the_folder(tmp_path: Path, victim: Path, path: str) -> None:
    with closing(Folder(tmp_path / "certificates")) as folder:
        folder.write("a/b", b"")
        folder.switch()
        for act in (folder.remove, folder.read, folder.exists):
            with pytest.raises(UntrustedError, match="is not a path below this folder"):
                act(path)
        with pytest.raises(UntrustedError, match="is not a path below this folder"):
            folder.symlink("a/b", path)
    assert victim.read_bytes() == _SECRET


def test_a_forged_state_removes_nothing_outside_the_folder(
    keeper: Keeper, feed: FeedStub, victim: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    feed.put(a(1, WWW))
    keeper.sync()
    with closing(sqlite3.connect(keeper.folder / "state.sqlite3")) as database, database:
        database.execute("INSERT INTO leftovers VALUES ('../victims', 0), ('../victims/file', 0)")

    assert keeper.sync(NOW + LATER) == 1
    assert "is not a path below this folder" in capfd.readouterr().err
    assert victim.read_bytes() == _SECRET


@pytest.mark.parametrize(("mode", "is_refused"), [(0o777, True), (0o1777, False), (0o755, False)])
def test_a_folder_that_others_can_replace_is_rejected(
    keeper: Keeper, tmp_path: Path, mode: int, is_refused: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a folder like /tmp, nobody can replace entries of another account."""
    (tmp_path / "above").mkdir()
    (tmp_path / "above").chmod(mode)
    keeper.folder = tmp_path / "above" / "certificates"

    assert keeper.sync() == (2 if is_refused else 0)
    said = capfd.readouterr().err
    assert (f"chmod go-w {tmp_path}/above" in said) == is_refused
    assert keeper.folder.exists() != is_refused


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_is_refused(
    keeper: Keeper, mode: int, capfd: pytest.CaptureFixture[str]
) -> None:
    keeper.folder.mkdir()
    keeper.folder.chmod(mode)

    assert keeper.sync() == 2
    assert f"chmod -R go-w {keeper.folder}" in capfd.readouterr().err
    assert list(keeper.folder.iterdir()) == []


@pytest.mark.parametrize("place", ["certificates", "certificates/{}"])
def test_an_entry_that_others_can_write_is_not_used(
    keeper: Keeper, feed: FeedStub, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    feed.put(a(1, WWW))
    keeper.sync()
    (file,) = (keeper.folder / "certificates").rglob("*.pem")
    part = keeper.folder / place.format(file.parent.name)
    part.chmod(0o777)

    assert keeper.sync() == 2
    assert f"{part} can be written by other accounts" in capfd.readouterr().err


def test_the_group_reads_all_but_the_files_of_the_agent(keeper: Keeper, feed: FeedStub) -> None:
    feed.put(a(1, WWW))
    group = grp.getgrgid(os.getegid()).gr_name
    mask = os.umask(0o077)
    try:
        assert keeper.sync() == 0
        assert keeper.sync(group=group) == 0
        feed.put(a(2, "shop.example.com"))
        assert keeper.sync(group=group) == 0
    finally:
        os.umask(mask)

    assert keeper.folder.stat().st_gid == os.getegid()
    assert stat.S_IMODE(keeper.folder.stat().st_mode) == 0o750
    for path in keeper.folder.rglob("*"):
        is_own = path.name in ("lock", "status.json", ".staging") or "sqlite3" in path.name
        expected = 0o750 if path.is_dir() else 0o640
        assert stat.S_IMODE(path.stat().st_mode) == (expected & 0o700 if is_own else expected), path
    # And none from now on.
    assert keeper.sync() == 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in keeper.folder.rglob("*")} == {
        0o600,
        0o700,
    }


def test_a_file_with_a_hard_link_elsewhere_is_not_given_to_the_group(
    keeper: Keeper, feed: FeedStub, victim: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    feed.put(a(1, WWW))
    keeper.sync()
    os.link(victim, keeper.folder / "certificates" / "linked.pem")

    assert keeper.sync(group=grp.getgrgid(os.getegid()).gr_name) == 2
    assert "certificates/linked.pem has a second name" in capfd.readouterr().err
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


def test_a_pair_with_other_links_is_created_again(tmp_path: Path) -> None:
    with closing(Folder(tmp_path / "certificates")) as folder:
        for _ in range(2):
            folder.folder_of_links("pairs/ab/1", {"first.pem": "certificates/ab/1.pem"})
            folder.switch()
            link = folder.root / "pairs" / "ab" / "1" / "first.pem"
            assert os.readlink(link) == "../../../certificates/ab/1.pem"
            link.unlink()
            link.symlink_to("/etc/passwd")


def test_the_listing_stays_until_the_new_state_is_complete(
    keeper: Keeper, feed: FeedStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The administrator deleted the state, and the service fails during the snapshot."""
    monkeypatch.setattr("customer_certificates.client.sync.feed._PAGE_SIZE", 1)
    both = a(1, WWW), a(2, "shop.example.com")
    feed.put(*both)
    keeper.sync()
    before = (keeper.folder / "index.json").read_bytes()
    (keeper.folder / "state.sqlite3").unlink()
    answer = feed.feed

    def once(since: str, wait: float, limit: int) -> bytes:
        feed.status = 503
        return answer(since, wait, limit)

    monkeypatch.setattr(feed, "feed", once)
    assert keeper.sync() == 1
    assert (keeper.folder / "index.json").read_bytes() == before
    assert keeper.files() == {1: content(both[0]), 2: content(both[1])}

    feed.status = 0
    monkeypatch.setattr(feed, "feed", answer)
    (keeper.folder / "index.json").write_text("something else")
    assert keeper.sync() == 0
    assert (keeper.folder / "index.json").read_bytes() == before


def test_a_moved_folder_is_still_the_one_that_is_written(tmp_path: Path, victim: Path) -> None:
    """The agent continues in the folder that it locked."""
    with closing(Folder(tmp_path / "certificates")) as folder:
        folder.root.rename(tmp_path / "aside")
        folder.root.symlink_to(victim.parent)
        folder.write("file", b"new")
        folder.switch()

    assert victim.read_bytes() == _SECRET
    assert (tmp_path / "aside" / "file").read_bytes() == b"new"


def test_a_missing_group_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="There is no group no-such-group"):
        Folder(tmp_path / "certificates", "no-such-group")
    assert not (tmp_path / "certificates").exists()


class Crash(BaseException):
    """Simulates the end of the process."""


class Crashing:
    """Ends the process at its n-th change of the disk. Nothing changes after that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: float = 0
        for name in ("replace", "link", "symlink", "mkdir", "unlink", "fsync"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        # The end of a transaction: all files are in their places, and the state does not say so.
        monkeypatch.setattr(State, "set_fact", self._counted(State.set_fact))
        monkeypatch.setattr(Reports, "add", self._counted(Reports.add))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left <= 0:
                raise Crash
            return function(*arguments, **options)

        return counted


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_a_crash_keeps_the_served_files(
    keeper: Keeper,
    feed: FeedStub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    """The process ends at each change of the disk between two versions; without --long, at some."""
    keeper.format = kind
    old = a(1, WWW)
    feed.put(old, a(2, "shop.example.com"))
    keeper.sync()
    before = tmp_path / "before"
    shutil.copytree(keeper.folder, before, symlinks=True)
    new = a(1, WWW, version=2)
    feed.put(new, a(3, "new.example.com"))
    feed.remove(2)
    with monkeypatch.context() as patch:
        crashing = Crashing(patch)
        for number in itertools.count(1, 1 if request.config.getoption("--long") else 5):
            crashing.left = number
            try:
                keeper.sync()
                break
            except Crash:
                assert served_now(keeper, WWW) in (content(old), content(new)), number
            crashing.left = math.inf
            shutil.rmtree(keeper.folder)
            shutil.copytree(before, keeper.folder, symlinks=True)

    assert number > 20
    assert keeper.sync() == 0
    assert served_now(keeper, WWW) == content(new)
    assert served_now(keeper, "shop.example.com") is None


def served_now(keeper: Keeper, hostname: str) -> bytes | None:
    """Returns the files that a server that starts now serves for a hostname."""
    listing = "http.conf" if keeper.format == "nginx" else "crt-list"
    lines = [line.split() for line in (keeper.folder / listing).read_text().splitlines()]
    if keeper.format == "nginx":
        places = [words[1].rstrip(";") for words in lines if words[:1] == [hostname]]
        return (keeper.folder / places[0] / "first.pem").read_bytes() if places else None
    places = [words[0] for words in lines if hostname in words[1:]]
    return Path(places[0]).read_bytes() if places else None
