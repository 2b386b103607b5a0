"""The two sources of load, wrk and pgbench, and what they print, read."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import postgresql_binaries

from . import data
from .workloads import Workload


@dataclass(frozen=True)
class Result:
    """One run: how many requests, how many a second, and their latencies in milliseconds."""

    requests: int
    per_second: float
    p50: float
    p99: float


def check_tools() -> None:
    """Raises SystemExit where a program is missing that no wheel brings."""
    if not shutil.which("wrk"):
        raise SystemExit("make bench needs the program wrk: apt-get install wrk")


def wrk(
    url: str, work: Workload, seconds: int, headers: Mapping[str, str] = {}, body: str = data.UPLOAD
) -> Result:
    """Sends `work` to the service at `url`; `body` is what it POSTs.

    Raises RuntimeError where answers are not as meant.
    """
    least_bytes = _length_of_answer(url, work, headers, body)
    with tempfile.NamedTemporaryFile("w") as upload:
        upload.write(body)
        upload.flush()
        script = Path(__file__).with_name("wrk.lua")
        printed = _run(
            [
                "wrk",
                "--threads=1",
                f"--connections={work.connections}",
                f"--duration={seconds}s",
                "--timeout=10s",
                f"--script={script}",
                *(f"--header={name}: {value}" for name, value in headers.items()),
                *(url, "--", work.method, work.target, *map(str, work.users)),
                *([upload.name] if work.method == "POST" else []),
            ]
        )
    counted = json.loads(printed.splitlines()[-1])
    requests = counted["requests"]
    if counted["failures"] or counted["bytes"] < requests * least_bytes:
        raise RuntimeError(f"{url} did not answer {work.title} as it should: {counted}")
    return Result(requests, requests / counted["seconds"], counted["p50"], counted["p99"])


def _length_of_answer(url: str, work: Workload, headers: Mapping[str, str], body: str) -> int:
    """Makes one request of `work`, looks whether the answer is right, and says how long it is."""
    try:
        answer = httpx.request(
            work.method,
            url + work.target.replace("%d", str(work.users[1])),
            content=body if work.method == "POST" else None,
            headers={"Content-Type": "application/json", **headers},
            timeout=60,
        ).raise_for_status()
    except httpx.HTTPError as error:
        raise RuntimeError(f"{url} failed at {work.title}: {error}") from error
    if not _is_right(answer, work):
        raise RuntimeError(f"{url} did not answer {work.title} as it should: {answer.text[:500]}")
    return len(answer.content)


def _is_right(answer: httpx.Response, work: Workload) -> bool:
    if not answer.headers["Content-Type"].startswith("application/json"):
        return "BEGIN CERTIFICATE" in answer.text and "BEGIN PRIVATE KEY" in answer.text
    content = answer.json()
    if isinstance(content, list):
        return [one["body"] for one in content] == [data.BODY] * work.certificates
    # Revisions before 2026-11-28 call them winners.
    for name in ("selected", "winners"):
        if name in content:
            return len(content[name]) == work.certificates
    if "data" in content:  # OpenBao's
        return bool(content["data"])
    return bool(content["id"] > 0)


def pgbench(url: str, work: Workload, seconds: int) -> Result:
    """Runs the statements of `work`, prepared, against the database at `url`."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.sql")
        first, last = work.users
        script.write_text(f"\\set user random({first}, {last})\n{work.sql}")
        printed = _run(
            [
                str(postgresql_binaries() / "pgbench"),
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={work.connections}",
                "--jobs=2",
                f"--time={seconds}",
                f"--file={script}",
                "--log",
                f"--log-prefix={folder}/log",
                f"--define=body={data.BODY}",
                f"--define=revision=\\x{data.REVISION.hex()}",
                f"--define=private_key=\\x{data.PRIVATE_KEY.hex()}",
                url,
            ]
        )
        # A line for each transaction: client, number, microseconds, …
        logs = [log.read_text().splitlines() for log in Path(folder).glob("log*")]
    micros = sorted(int(line.split()[2]) for lines in logs for line in lines)
    p50, p99 = (micros[len(micros) * hundredths // 100] / 1000 for hundredths in (50, 99))
    (rate,) = re.findall(r"tps = ([0-9.]+)", printed)
    return Result(len(micros), float(rate), p50, p99)


def _run(command: list[str]) -> str:
    """What `command` prints. Raises RuntimeError with its complaint where it fails."""
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return ended.stdout
