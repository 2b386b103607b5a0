"""OpenBao beside this service: KV v2 on raft storage with a file audit device, one node, no TLS."""

import json
import time
from pathlib import Path
from typing import Any

import httpx

from tests.servers import Server, free_port, openbao_command

from . import data, load
from .load import Result
from .workloads import CERTIFICATE, UPLOAD, Workload

_START_SECONDS = 60
# A write of the same material: certificate and key as they are, unexamined.
_SECRET = json.dumps({"data": json.loads(data.UPLOAD)})
_WORKLOADS = {
    CERTIFICATE: Workload("KV v2 read", "GET", "/v1/secret/data/read-%d", CERTIFICATE.users, 1),
    UPLOAD: Workload("KV v2 write", "POST", "/v1/secret/data/written-%d", UPLOAD.users, 0),
}
_CONFIGURATION = """
storage "raft" {{
  path = "{folder}"
  node_id = "bench"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
audit "file" "bench" {{
  options {{
    file_path = "{folder}/audit.log"
  }}
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster_port}"
log_level = "warn"
"""


class OpenBao:
    """A running OpenBao, with a secret for each user whose certificate is read."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        port = free_port()
        configuration = folder / "bench.hcl"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, port=port, cluster_port=free_port())
        )
        url = f"http://127.0.0.1:{port}"

        def is_ready(_: int) -> bool:
            try:
                # 501: it runs, and has not been initialized.
                return httpx.get(f"{url}/v1/sys/health").status_code in (200, 501)
            except httpx.HTTPError:
                return False

        command = [openbao_command(), "server", f"-config={configuration}"]
        self.server = Server(url, command, folder / "log", is_ready)
        self._token = self._initialize()
        self._fill()

    def run(self, work: Workload, seconds: int) -> Result:
        """The same as `work`, as far as OpenBao has the same."""
        headers = {"X-Vault-Token": self._token}
        return load.wrk(self.server.url, _WORKLOADS[work], seconds, headers, _SECRET)

    def _initialize(self) -> str:
        with httpx.Client(base_url=self.server.url, timeout=_START_SECONDS) as client:
            shares = {"secret_shares": 1, "secret_threshold": 1}
            made = _answer(client.put("/v1/sys/init", json=shares))
            client.put("/v1/sys/unseal", json={"key": made["keys"][0]}).raise_for_status()
        return str(made["root_token"])

    def _fill(self) -> None:
        with httpx.Client(
            base_url=self.server.url, headers={"X-Vault-Token": self._token}, timeout=_START_SECONDS
        ) as client:
            engine = {"type": "kv", "options": {"version": "2"}}
            # It elects itself, and then sets the engine up; before that it refuses.
            _until_done(client, "/v1/sys/mounts/secret", engine)
            first, last = CERTIFICATE.users
            for user in range(first, last + 1):
                _until_done(client, f"/v1/secret/data/read-{user}", json.loads(_SECRET))


def _until_done(client: httpx.Client, path: str, content: dict[str, Any]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        answer = client.post(path, json=content)
        if answer.is_success:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"OpenBao refuses {path}: {answer.status_code} {answer.text}")
        time.sleep(0.1)


def _answer(answer: httpx.Response) -> dict[str, Any]:
    return dict(answer.raise_for_status().json())
