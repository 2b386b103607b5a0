"""Each certificate is stored once, even if requests fail or responses are lost."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from customer_certificates.client.api.client import Api
from customer_certificates.client.api.connection import Server, seconds_of
from customer_certificates.client.api.responses import Unreachable
from customer_certificates.client.importing import command
from customer_certificates.client.importing.pairing import Candidate, collect
from customer_certificates.client.importing.upload import Result, UploadOptions, upload_all

from ...factories import a_user
from ...service import Service, run
from ..stub import Answer, Stub, a_stub
from . import trees
from .trees import NOW, issued, write

WWW = issued("www.example.com", "example.com")
SHOP = issued("shop.example.com")
ERROR = {"code": "key_weak", "field": "private_key", "detail": "Too short.", "hint": "Renew."}
LATER: Answer = (503, {"Retry-After": "0"}, {"detail": "Not now."})


@pytest.fixture
def stub() -> Iterator[Stub]:
    with a_stub() as stub:
        yield stub


@pytest.fixture
def candidates(tmp_path: Path) -> tuple[Candidate, ...]:
    write(tmp_path, {"www.pem": WWW.pem + WWW.key_pem, "chain.pem": WWW.chain})
    return collect([tmp_path], [], NOW).candidates


def upload(stub: Stub, candidates: tuple[Candidate, ...], **options: Any) -> list[Result]:
    with Api(Server(stub.url), 1) as api:
        return list(upload_all(api, candidates, UploadOptions(**options)))


def first_times(number: int, method: str, answer: Answer) -> Any:
    """Responds with `answer` to the first `number` requests of `method`."""
    times = count(1)
    return lambda asked, path: answer if asked == method and next(times) <= number else None


def test_a_temporary_rejection_is_retried(stub: Stub, candidates: tuple[Candidate, ...]) -> None:
    stub.before = first_times(3, "POST", LATER)

    (result,) = upload(stub, candidates)

    assert (result.outcome, len(stub.stored)) == ("uploaded", 1)
    # Before each attempt it was looked for.
    assert stub.asked == ["GET /users/1/certificates", "POST /users/1/certificates"] * 4 + [
        "GET /users/1/certificates"
    ]


@pytest.mark.parametrize("lost", [Stub.LOST, (502, {}, None), (504, {}, None)])
def test_an_upload_with_a_lost_response_is_stored_once(
    stub: Stub, candidates: tuple[Candidate, ...], lost: Answer
) -> None:
    stub.after = first_times(1, "POST", lost)

    (result,) = upload(stub, candidates)

    assert result.outcome == "uploaded"
    assert [one["id"] for one in stub.stored] == [result.certificate_id]
    assert stub.asked.count("POST /users/1/certificates") == 1


def test_an_upload_that_was_stored_late_leaves_no_duplicate(
    stub: Stub, candidates: tuple[Candidate, ...]
) -> None:
    """Its response was lost, and the search before the retry did not find it yet."""
    hidden: list[dict[str, Any]] = []

    def hide(method: str, path: str) -> Answer | None:
        if method == "POST" and not hidden:
            hidden.extend(stub.stored)
            stub.stored.clear()
            return Stub.LOST
        if method == "POST":
            stub.stored[:0] = hidden
        return None

    stub.after = hide
    (result,) = upload(stub, candidates)

    assert result.certificate_id == hidden[0]["id"]
    assert stub.stored == hidden


def test_attempts_are_limited(stub: Stub, candidates: tuple[Candidate, ...]) -> None:
    stub.before = first_times(1000, "POST", LATER)

    (result,) = upload(stub, candidates)

    assert (result.outcome, stub.stored) == ("failed", [])
    assert result.problem == "503 Service Unavailable (5 attempts)"


def test_a_service_that_stops_fails_all_uploads_at_once(tmp_path: Path) -> None:
    """The first uploads time out; the others fail at once."""
    sites = [issued(f"{number}.example.com") for number in range(30)]
    write(tmp_path, {f"{number}.pem": one.pem + one.key_pem for number, one in enumerate(sites)})
    candidates = collect([tmp_path], [], NOW).candidates
    with a_stub() as stub:
        pass

    results = upload(stub, candidates)

    assert {result.outcome for result in results} == {"failed"}
    assert len(results) == 30
    with Api(Server(stub.url), 1) as api, pytest.raises(Unreachable, match="does not respond"):
        api.require_user()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, "a string"),
        (200, {}, {"unlike": "it"}),
        (302, {"Location": "/"}, None),
        (500, {}, 1),
    ],
)
def test_another_service_is_recognized(
    stub: Stub, candidates: tuple[Candidate, ...], answer: Answer
) -> None:
    stub.before = lambda method, path: answer

    (result,) = upload(stub, candidates)

    assert result.outcome == "failed"
    assert "not as this service does" in result.problem


def test_private_keys_are_not_sent_through_a_proxy(
    stub: Stub, candidates: tuple[Candidate, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    (result,) = upload(stub, candidates)

    assert result.outcome == "uploaded"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("9" * 400, 999_999_999),
    ],
)
def test_retry_after_is_parsed(header: str, seconds: float | None) -> None:
    assert seconds_of(header) == seconds


# The following tests use the service itself.


class Imports:
    """`customer-certificates import` for a new user."""

    def __init__(self, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.url = service.url
        self.http = service.client()
        self.user = self.register()

    def register(self) -> int:
        return int(self.http.post("/users", json=a_user()).json()["id"])

    def __call__(
        self, path: Path, *, user: int | None = None, server: str | None = None, **options: Any
    ) -> tuple[int, list[str]]:
        """Returns the exit code and the printed lines."""
        code = command.run(
            [path], [], NOW, Server(server or self.url), user or self.user, UploadOptions(**options)
        )
        printed = self._capsys.readouterr()
        return code, (printed.out + printed.err).splitlines()

    def list(self, query: str = "") -> list[dict[str, Any]]:
        answer = self.http.get(f"/users/{self.user}/certificates{query}")
        found: list[dict[str, Any]] = answer.json()
        return found


@pytest.fixture
def imports(service: Service, capsys: pytest.CaptureFixture[str]) -> Iterator[Imports]:
    imports = Imports(service, capsys)
    yield imports
    imports.http.close()


def test_import_uploads_the_folder_of_an_acme_client(imports: Imports, tmp_path: Path) -> None:
    root = trees.certbot(tmp_path, {"www.example.com": (SHOP, WWW), "shop": (SHOP,)})

    first = run(f"import {root} --user {imports.user} --server {imports.url}", {})
    again = imports(root)

    assert (first.returncode, again[0]) == (0, 0), (first.stdout + first.stderr, again)
    assert first.stdout.endswith("\n2 uploaded.\n")
    assert again[1][-1] == "2 already there."
    assert {tuple(one["hostnames"]) for one in imports.list()} == {
        ("www.example.com", "example.com"),
        ("shop.example.com",),
    }
    rows = [line for line in first.stdout.splitlines() if "uploaded #" in line]
    assert len(rows) == 2
    assert all("(in 60 days)   incomplete" in row for row in rows)


@pytest.mark.one_backend
def test_a_dry_run_uploads_nothing(imports: Imports, tmp_path: Path) -> None:
    write(tmp_path, {"www.pem": WWW.pem + WWW.chain + WWW.key_pem})

    code, lines = imports(tmp_path, dry_run=True)

    assert (code, imports.list()) == (0, []), lines
    assert lines[-1] == "1 would be uploaded with errors."
    assert any(line.startswith("  error  ") for line in lines)


@pytest.mark.one_backend
def test_an_import_sets_labels(imports: Imports, tmp_path: Path) -> None:
    write(tmp_path, {"www.pem": WWW.pem + WWW.chain + WWW.key_pem})
    words = f"import {tmp_path} --user {imports.user} --server {imports.url}"

    wrong = run(f"{words} --label production", {})
    labels = "--label env=production --label team=a"
    dry, done = (run(f"{words} {labels} {option}", {}) for option in ("--dry-run", "--activate"))

    assert (wrong.returncode, dry.returncode, done.returncode) == (2, 0, 0), done.stdout
    assert "is not a label" in wrong.stderr
    (stored,) = imports.list()
    assert stored["labels"] == {"env": "production", "team": "a"}


@pytest.mark.parametrize(
    ("answer", "outcome", "is_failure"),
    [
        ({"accepted": True, "findings": []}, "would be uploaded", False),
        ({"accepted": True, "findings": [ERROR]}, "would be uploaded with errors", False),
        ({"accepted": False, "findings": [ERROR]}, "would be refused", True),
    ],
)
def test_a_dry_run_distinguishes_errors(
    stub: Stub,
    candidates: tuple[Candidate, ...],
    answer: dict[str, Any],
    outcome: str,
    is_failure: bool,
) -> None:
    stub.before = lambda method, _path: (200, {}, answer) if method == "POST" else None

    (result,) = upload(stub, candidates, dry_run=True)

    assert (result.outcome, result.is_failure, stub.stored) == (outcome, is_failure, [])


@pytest.mark.one_backend
def test_a_stored_certificate_is_activated(imports: Imports, tmp_path: Path) -> None:
    write(tmp_path, {"www.pem": WWW.pem + WWW.chain + WWW.key_pem})

    imports(tmp_path)
    code, lines = imports(tmp_path, activate=True)

    assert code == 0, lines
    assert lines[-1] == "1 already there."
    assert [one["active"] for one in imports.list()] == [True]


@pytest.mark.one_backend
def test_a_renewal_replaces_in_place(imports: Imports, tmp_path: Path) -> None:
    """A predecessor has the same hostnames and key type. Others do not change."""
    other = issued("www.example.com", "example.com", "api.example.com")
    renewed = issued("example.com", "www.example.com", days=80)
    write(tmp_path / "1", {"www.pem": WWW.pem + WWW.key_pem, "api.pem": other.pem + other.key_pem})
    write(tmp_path / "2", {"www.pem": renewed.pem + renewed.key_pem})
    imports(tmp_path / "1", activate=True)
    before = {one["id"]: one for one in imports.list()}

    foreseen = imports(tmp_path / "2", replace=True, dry_run=True)
    code, lines = imports(tmp_path / "2", replace=True)
    again = imports(tmp_path / "2", replace=True)

    assert (foreseen[0], foreseen[1][-1]) == (0, "1 would be renewed with errors.")
    assert (code, lines[-1]) == (0, "1 renewed."), lines
    assert (again[0], again[1][-1]) == (0, "1 already there.")
    after = {one["id"]: one for one in imports.list()}
    assert after.keys() == before.keys()
    changed = [after[number] for number in after if after[number] != before[number]]
    assert [(one["version"], one["active"]) for one in changed] == [(2, True)]
    assert set(changed[0]["hostnames"]) == {"www.example.com", "example.com"}


@pytest.mark.one_backend
def test_an_older_copy_does_not_replace(imports: Imports, tmp_path: Path) -> None:
    older = issued("www.example.com", "example.com", days=20)
    pairs = {"old.pem": older.pem + older.key_pem, "new.pem": WWW.pem + WWW.key_pem}
    write(tmp_path, pairs)
    write(tmp_path / "backups", {"old.pem": older.pem + older.key_pem})

    both = imports(tmp_path, replace=True)
    alone = imports(tmp_path / "backups", replace=True)

    assert both[1][-1] == "1 uploaded, 1 skipped."
    assert (alone[0], alone[1][-1]) == (0, "1 newer is there.")
    assert [one["version"] for one in imports.list()] == [1]


@pytest.mark.one_backend
def test_a_renewal_that_is_not_valid_yet_is_scheduled(imports: Imports, tmp_path: Path) -> None:
    renewed = issued("www.example.com", "example.com", days=80, starts=5)
    write(tmp_path / "1", {"www.pem": WWW.pem + WWW.key_pem})
    write(tmp_path / "2", {"www.pem": renewed.pem + renewed.key_pem})
    imports(tmp_path / "1", activate=True)

    for code, lines in (imports(tmp_path / "2", replace=True) for _ in range(2)):
        assert (code, lines[-1]) == (0, "1 scheduled."), lines
    assert [one["version"] for one in imports.list()] == [1]


def test_the_predecessor_is_found_on_a_later_page(
    stub: Stub, candidates: tuple[Candidate, ...]
) -> None:
    leaf = candidates[0].certificate
    stub.page = 1
    stub.stored = [
        {
            "id": number,
            "active": True,
            "fingerprint_sha256": "another",
            "hostnames": hostnames,
            "not_after": "2020-01-01T00:00:00Z",
            "key_algorithm": "ECDSA-P-256",
        }
        for number, hostnames in ((6, [leaf.hostnames[0], "more.example.com"]), (7, leaf.hostnames))
    ]

    (result,) = upload(stub, candidates, replace=True)

    assert (result.outcome, result.certificate_id) == ("renewed", 7)


def test_a_renewal_with_a_lost_response_is_one_version(
    stub: Stub, candidates: tuple[Candidate, ...]
) -> None:
    leaf = candidates[0].certificate
    stub.stored = [
        {
            "id": 7,
            "active": True,
            "fingerprint_sha256": "another",
            "hostnames": [*leaf.hostnames],
            "not_after": "2020-01-01T00:00:00Z",
            "key_algorithm": "ECDSA-P-256",
        }
    ]
    stub.after = first_times(1, "PUT", Stub.LOST)

    (result,) = upload(stub, candidates, replace=True)

    assert (result.outcome, result.certificate_id) == ("renewed", 7)
    assert stub.asked.count("PUT /users/1/certificates/7") == 1


def test_a_hostname_of_another_user_is_named(imports: Imports, tmp_path: Path) -> None:
    write(tmp_path / "a", {"www.pem": WWW.pem + WWW.key_pem})
    taken = issued("www.example.com", "mine.example.com", version=3)
    write(tmp_path / "b", {"www.pem": taken.pem + taken.key_pem})
    imports(tmp_path / "a", activate=True, user=imports.register())

    foreseen = imports(tmp_path / "b", activate=True, dry_run=True)
    told = imports(tmp_path / "b", activate=True)

    for code, lines in (foreseen, told):
        (said,) = [line for line in lines if "nother user" in line and "example.com" in line]
        assert "www.example.com" in said
        assert "mine.example.com" not in said
        assert code == 1
    # The upload itself is kept.
    assert [one["active"] for one in imports.list()] == [False]
    assert told[1][-1] == "1 uploaded, 1 not active."


@pytest.mark.one_backend
def test_many_certificates_are_uploaded_concurrently(imports: Imports, tmp_path: Path) -> None:
    sites = [issued(f"{number}.example.com") for number in range(40)]

    code, lines = imports(trees.lego(tmp_path, *sites), activate=True)

    assert code == 0, lines
    assert lines[-1] == "40 uploaded."
    assert len(imports.list("?active=true")) == 40


@pytest.mark.one_backend
def test_a_missing_service_or_user_is_reported(imports: Imports, tmp_path: Path) -> None:
    write(tmp_path, {"www.pem": WWW.pem + WWW.key_pem})

    nowhere = imports(tmp_path, server="http://127.0.0.1:1")
    nobody = imports(tmp_path, user=987654321)

    assert (nowhere[0], nobody[0]) == (1, 1)
    assert "http://127.0.0.1:1 does not respond" in nowhere[1][-1]
    assert "987654321" in nobody[1][-1]
