"""A server's check that rejects some certificates, or the whole configuration."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from ...agents import program, start_edge, typed, wait_for
from ...pki.authority import rsa_key
from ...service import COMMAND, run_forked
from .feed_stub import Entry, FeedStub
from .test_served import a, of

# Refuses a listing with a word in it; counts how often it is asked.
_CHECK = """
printf . >> "$1/../asked"
listing="$1/$2" said=
shift 2
for word; do
    if grep -qF -e "$word" "$listing"; then said="$said $word"; fi
done
case "$said " in *" killed "*) kill -9 $PPID;; esac
if [ "$said" ]; then echo "cannot load:$said" >&2; exit 1; fi
"""
# Refuses n3, and everything from the fifth time on.
_BREAKS = """
printf . >> "$1/../asked"
if grep -qF n3.ex "$1/crt-list" || [ $(wc -c < "$1/../asked") -gt 4 ]; then exit 1; fi
"""
# OpenSSL takes no key of less than 128 bits of security: no RSA key of 2,048 bits.
_STRICT = """
openssl_conf = begin
[begin]
ssl_conf = ssl
[ssl]
system_default = strict
[strict]
CipherString = DEFAULT@SECLEVEL=3
"""
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend https
    bind 127.0.0.1:1 ssl crt-list {folder}/crt-list
"""
LISTINGS = {"pem": "index.json", "nginx": "http.conf", "haproxy": "crt-list"}


class Keeper:
    """An agent with a check, run step by step."""

    def __init__(self, folder: Path, feed: FeedStub) -> None:
        self.folder = folder / "certificates"
        self.feed = feed
        self.format = "haproxy"
        self.said = ""
        self._script = folder / "check"
        self._script.write_text(_CHECK)
        self._asked = folder / "asked"

    def sync(self, *words: str, check: str | None = None) -> int:
        """Runs the agent once, with a check that rejects `words`."""
        self._asked.write_text("")
        place = f"{self.folder} {LISTINGS[self.format]}"
        check = check or f"sh {self._script} {place} {' '.join(words)}"
        options = ["--format", self.format, "--server", self.feed.url, "--once"]
        code, _, self.said = typed("--out", self.folder, *options, "--check", check)
        return code

    def killed_in_its_check(self) -> int:
        """Runs the agent once in a process that the check kills. Returns the exit status."""
        check = f"sh {self._script} {self.folder} {LISTINGS[self.format]} killed"
        options = ["--out", str(self.folder), "--format", self.format, "--server", self.feed.url]
        command = [COMMAND, "sync", *options, "--once", "--check", check]
        return run_forked(command, {}, seconds=300).returncode

    @property
    def asked(self) -> int:
        """Returns the number of checks."""
        return len(self._asked.read_text())

    @property
    def listing(self) -> str:
        return (self.folder / LISTINGS[self.format]).read_text()

    @property
    def served(self) -> set[int]:
        return served_in(self.feed)


def served_in(feed: FeedStub) -> set[int]:
    """The certificates that were reported as served."""
    return {one["certificate_id"] for r in feed.reports for one in r["served"]}


@pytest.fixture
def keeper(tmp_path: Path, feed: FeedStub) -> Keeper:
    return Keeper(tmp_path, feed)


def many(count: int) -> list[Entry]:
    return [a(number, f"n{number}.example.com") for number in range(1, count + 1)]


@pytest.mark.parametrize("format", LISTINGS)
def test_a_certificate_that_the_check_rejects_is_left_out(keeper: Keeper, format: str) -> None:  # noqa: A002
    keeper.format = format
    keeper.feed.put(*many(15), a(40, "bad.example.com"), *(a(n, f"n{n}.org") for n in (50, 51)))

    assert keeper.sync("bad.example") == 1
    assert "bad.example.com" not in keeper.listing
    assert all(f"n{n}.example.com" in keeper.listing for n in range(1, 16))
    assert "Certificate 40 (bad.example.com), version 1, is not served: " in keeper.said
    assert "cannot load: bad.example" in keeper.said
    assert keeper.served == {*range(1, 16), 50, 51}
    assert "Certificate 40 " in keeper.feed.reports[-1]["errors"][0]
    # All of them, none of them, five halves of 18, all without the one, and what is left.
    assert keeper.asked <= 9
    assert not list(keeper.folder.glob("*.previous"))

    # Asked once as long as nothing changes, and not about what is known.
    keeper.feed.put(a(60, "n60.example.com"))
    assert keeper.sync("bad.example") == 1
    assert keeper.asked == 1
    assert "Certificate 40 " in keeper.said
    keeper.feed.put(a(40, "bad.example.com", version=2))
    assert keeper.sync("nothing") == 0
    assert "bad.example.com" in keeper.listing
    assert {40, 60} < keeper.served
    assert keeper.feed.reports[-1]["errors"] == []


def test_the_previous_version_is_served_while_a_renewal_is_rejected(keeper: Keeper) -> None:
    names = ("www.example.com", "only-in-version-1.example.com")
    keeper.feed.put(*many(4), a(7, *names))
    assert keeper.sync() == 0
    keeper.feed.put(a(7, names[0], version=2), a(8, "other.example.com"))

    assert keeper.sync("/7-2-") == 1
    assert "Certificate 7 (www.example.com), version 2, is not served: " in keeper.said
    assert "other.example.com" in keeper.listing
    (line,) = (line for line in keeper.listing.splitlines() if "/7-" in line)
    assert "/7-1-" in line
    assert set(line.split()[1:]) == set(names)
    assert Path(line.split()[0]).exists()
    # Also where the feed says all of it once more.
    keeper.feed.forget()
    assert keeper.sync("/7-2-") == 1
    assert line in keeper.listing

    keeper.feed.put(a(7, names[0], version=3))
    assert keeper.sync("/7-2-") == 0
    assert "/7-3-" in keeper.listing
    assert names[1] not in keeper.listing


def test_several_rejected_certificates_are_found(keeper: Keeper) -> None:
    keeper.feed.put(*many(12))

    assert keeper.sync("n3.ex", "n4.ex", "n12.ex") == 1
    assert keeper.served == {*range(1, 13)} - {3, 4, 12}
    assert keeper.asked <= 2 + 3 * 6


@pytest.mark.parametrize("is_first", [True, False])
def test_a_configuration_that_is_rejected_without_certificates_is_reported(
    keeper: Keeper, is_first: bool
) -> None:
    """No certificate is reported as rejected."""
    before = ""
    if not is_first:
        keeper.feed.put(a(99, "before.example.com"))
        assert keeper.sync() == 0
        before = keeper.listing
    keeper.feed.put(*many(12))

    assert keeper.sync("certificates") == 1  # in the path of the placeholder
    assert "rejects its configuration even without the certificates" in keeper.said
    assert keeper.asked == (2 if is_first else 3)
    assert before in keeper.listing
    assert "n1.example.com" not in keeper.listing
    assert keeper.served == (set() if is_first else {99})
    assert keeper.sync() == 0
    assert keeper.served >= {*range(1, 13)}


def test_an_accepted_certificate_may_be_rejected_later(keeper: Keeper) -> None:
    """After an update of the server, rejected old certificates do not stop new ones."""
    keeper.feed.put(*many(6))
    assert keeper.sync() == 0
    keeper.feed.put(a(40, "new.example.com"))

    assert keeper.sync("n3.ex", "n6.ex") == 1
    assert "n3.example.com" not in keeper.listing
    assert "n6.example.com" not in keeper.listing
    assert all(f"{name}.example.com" in keeper.listing for name in ("n1", "n4", "new"))
    assert 40 in keeper.served


def test_a_configuration_that_breaks_during_the_search_blames_no_certificate(
    keeper: Keeper, tmp_path: Path
) -> None:
    keeper.feed.put(*many(12))
    breaks = tmp_path / "breaks"
    breaks.write_text(_BREAKS)

    assert keeper.sync(check=f"sh {breaks} {keeper.folder}") == 1
    assert "is not served" not in keeper.said
    assert keeper.sync("n3.ex") == 1
    assert keeper.served == {*range(1, 13)} - {3}


def test_a_check_that_is_killed_blames_no_certificate(keeper: Keeper) -> None:
    """The kernel may kill it for lack of memory."""
    keeper.feed.put(*many(4))
    killed = f"if grep -q n3.ex {keeper.folder}/crt-list; then kill -9 $$; fi"

    assert keeper.sync(check=f"sh -c '{killed}'") == 1
    assert "was terminated by signal 9" in keeper.said
    assert "is not served" not in keeper.said
    assert keeper.sync() == 0


def test_a_certificate_with_too_many_names_for_a_crt_list_is_left_out(
    keeper: Keeper, tmp_path: Path
) -> None:
    """HAProxy rejects a crt-list with a longer line, and there may be no check."""
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(_HAPROXY.format(folder=keeper.folder))
    fill = "x".join(["a" * 60, "b" * 60, "c" * 60]).replace("x", ".")

    def names(of: str, octets: int) -> list[str]:
        return [f"{of}{n:04}.{fill}.example.com" for n in range(octets // 206)]

    just, large = names("j", 64_400), names("l", 70_000)
    keeper.feed.put(
        a(1, "www.example.com"),
        a(2, "just.example.com", hostnames=just),
        a(3, "large.example.com", hostnames=large),
    )

    assert keeper.sync(check="true") == 1
    assert "Certificate 3 (l0000." in keeper.said
    assert keeper.served == {1, 2}
    check = [program("haproxy"), "-c", "-f", str(configuration)]
    checked = subprocess.run(check, capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("is_first", [True, False])
def test_a_crash_during_the_check_keeps_the_accepted_listing(
    keeper: Keeper, is_first: bool
) -> None:
    if not is_first:
        keeper.feed.put(a(1, "www.example.com"))
        assert keeper.sync() == 0
    keeper.feed.put(a(1, "www.example.com", version=2), a(2, "killed.example.com"))
    assert keeper.killed_in_its_check() == -9
    assert "killed" in keeper.listing

    # After any failure, the earlier listing is back, and its files exist.
    keeper.feed.status = 503
    assert keeper.sync("certificates") == 1
    names = [line.split()[0] for line in keeper.listing.splitlines()]
    assert [Path(name).name.partition("-")[0] for name in names[1:]] == ([] if is_first else ["1"])
    assert is_first or "/1-1-" in names[1]
    assert all(Path(name).exists() for name in names)
    keeper.feed.status = 0
    assert keeper.sync("killed.example") == 1
    assert keeper.served == {1}


def test_a_certificate_that_haproxy_rejects_over_its_socket_is_left_out(
    feed: FeedStub, folder: Path, tmp_path: Path
) -> None:
    """It is also not in the crt-list that a restarted HAProxy reads."""
    strict = tmp_path / "openssl.cnf"
    strict.write_text(_STRICT)
    strict.chmod(0o644)
    with ExitStack() as stack:
        options = {"OPENSSL_CONF": str(strict)}
        edge = start_edge("haproxy-runtime", feed.url, folder, stack, **options)
        weak = [a(n, f"weak{n}.example.com", key=rsa_key()) for n in (1, 2)]
        large = a(3, "large.example.com")
        large["chain_pem"] *= 200
        www = a(4, "www.example.com")
        feed.put(*weak, large, www)

        edge.terminator.wait_for("www.example.com", of(www))
        edge.agent.wait_for(lambda status: len(status.problems) == 3)
        log = edge.agent.log.read_text()
        assert (
            "Certificate 1 (weak1.example.com), version 1, is not served: HAProxy rejected" in log
        )
        assert "tune.bufsize" in log
        crt_list = edge.agent.folder / "crt-list"
        wait_for(crt_list.read_text, lambda text: "www" in text, edge.agent.log)
        assert "weak" not in crt_list.read_text()
        # An error that does not fit does not prevent the report of others.
        edge.agent.wait_for(lambda _: served_in(feed) == {4})
        edge.server.stop()
        edge.server.start()
        edge.terminator.wait_for("www.example.com", of(www))
        strong = a(1, "weak1.example.com", version=2)
        feed.put(strong)
        edge.terminator.wait_for("weak1.example.com", of(strong))

        # A renewal that is refused takes no name off the air.
        feed.put(a(1, "weak1.example.com", version=3, key=rsa_key()))
        edge.agent.wait_for(lambda status: any("version 3" in one for one in status.problems))
        wait_for(crt_list.read_text, lambda text: "/1-2-" in text, edge.agent.log)
        edge.terminator.wait_for("weak1.example.com", of(strong))
        edge.server.stop()
        edge.server.start()
        edge.terminator.wait_for("weak1.example.com", of(strong))


def test_the_reason_of_haproxy_is_reported(keeper: Keeper, tmp_path: Path) -> None:
    """A real HAProxy is stricter than the agent. The agent reports its reason."""
    strict, configuration = tmp_path / "openssl.cnf", tmp_path / "haproxy.cfg"
    strict.write_text(_STRICT)
    configuration.write_text(_HAPROXY.format(folder=keeper.folder))
    check = f"env OPENSSL_CONF={strict} {program('haproxy')} -c -f {configuration}"
    weak = {n: a(n, f"weak{n}.example.com", key=rsa_key()) for n in (3, 8)}
    keeper.feed.put(*(weak.get(n) or one for n, one in enumerate(many(9), 1)))

    assert keeper.sync(check=check) == 1
    assert keeper.served == {*range(1, 10)} - {3, 8}
    errors = keeper.feed.reports[-1]["errors"]
    assert [error.partition(",")[0] for error in errors] == [
        "Certificate 3 (weak3.example.com)",
        "Certificate 8 (weak8.example.com)",
    ]
    assert all("unable to load SSL certificate into SSL Context" in error for error in errors)
