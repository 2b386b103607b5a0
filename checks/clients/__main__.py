"""Prints a table of which clients refuse which certificates.

    python -m checks.clients

It needs Chromium, Firefox and certutil: apt-get install chromium firefox-esr libnss3-tools.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from customer_certificates.pki.chain.completion import Roots
from customer_certificates.pki.submission import Submission
from customer_certificates.pki.validation import validate
from tests.corpus.keys import pkcs8
from tests.differential.generator import pem

from .server import Servers
from .variants import ROOT, Variant, variants

_SECONDS = 180.0
_OF_THE_ROOT = {"untrusted", "root_dropped"}


def main() -> None:
    """Shows each variant to each client."""
    shown = list(variants())
    # A browser that was ended may still write: its folder need not go at once.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "root.pem").write_text(pem(ROOT.certificate))
        servers = Servers(shown, folder)
        answers = {
            "Chromium": _browse(_chromium(folder, servers.page), folder, servers),
            "Firefox": _browse(_firefox(folder, servers.page, shown), folder, servers),
            "OpenSSL": {one.hostname: _openssl(one, servers.port, folder) for one in shown},
        }
        servers.close()
    print(_table(shown, answers, servers.unloadable))


def _table(
    shown: Sequence[Variant], answers: Mapping[str, Mapping[str, bool]], unloadable: Collection[str]
) -> str:
    rows = [["finding", "certificate", *answers], ["---"] * (2 + len(answers))]
    for one in shown:
        verdicts = [
            "accepts" if answer.get(one.hostname) else "**refuses**" for answer in answers.values()
        ]
        if one.hostname in unloadable:
            verdicts = ["no server loads it" for _ in answers]
        rows.append([_findings(one), one.title, *verdicts])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _findings(variant: Variant) -> str:
    """The service's findings, without the one about the private root."""
    material = Submission(
        body="".join(map(pem, (*variant.chain, ROOT.certificate))), private_key=pkcs8(variant.key)
    )
    found = validate(material, datetime.now(UTC), Roots([])).findings
    told = {one.code: one.severity for one in reversed(found) if one.code not in _OF_THE_ROOT}
    return ", ".join(f"`{code}` {severity}" for code, severity in sorted(told.items()))


def _browse(command: list[str], home: Path, servers: Servers) -> dict[str, bool]:
    """The answers of a browser that is started with `command`."""
    browser = subprocess.Popen(
        command,
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return servers.results(_SECONDS)
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


def _chromium(folder: Path, page: str) -> list[str]:
    _trust(folder / ".pki" / "nssdb", folder / "root.pem")
    return [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-features=LocalNetworkAccessChecks",
        "--host-resolver-rules=MAP *.example.com 127.0.0.1",
        f"--user-data-dir={folder / 'chromium'}",
        page,
    ]


def _firefox(folder: Path, page: str, shown: Sequence[Variant]) -> list[str]:
    profile = folder / "firefox"
    _trust(profile, folder / "root.pem")
    preferences = {
        "network.dns.localDomains": ",".join(one.hostname for one in shown),
        "network.lna.blocking": False,
        "security.OCSP.enabled": 0,
        "datareporting.policy.dataSubmissionEnabled": False,
    }
    lines = [f'user_pref("{name}", {json.dumps(value)});\n' for name, value in preferences.items()]
    (profile / "user.js").write_text("".join(lines))
    return ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile), page]


def _trust(database: Path, root: Path) -> None:
    """Makes a database of NSS, which both browsers read, that trusts `root`."""
    database.mkdir(parents=True)
    where = ["-d", f"sql:{database}"]
    for words in (["-N", "--empty-password"], ["-A", "-n", "root", "-t", "C,,", "-i", str(root)]):
        subprocess.run(["certutil", *where, *words], check=True)


def _openssl(variant: Variant, port: int, folder: Path) -> bool:
    """Whether `openssl s_client` connects, as a client does that checks the name."""
    done = subprocess.run(
        [
            "openssl",
            "s_client",
            *("-connect", f"127.0.0.1:{port}"),
            *("-servername", variant.hostname, "-verify_hostname", variant.hostname),
            *("-CAfile", str(folder / "root.pem"), "-no-CApath", "-no-CAstore"),
            "-verify_return_error",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


if __name__ == "__main__":
    main()
