"""The verdict of the `openssl verify` command, which knows nothing of this service."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .generator import Pki, pem


@dataclass(frozen=True)
class Verdict:
    """The verdict of a TLS client built on OpenSSL: nothing in `errors` where it connects.

    `errors` are numbers of X509_V_ERR_…; -1 stands for a certificate that cannot be loaded.
    """

    errors: frozenset[int]
    text: str

    @property
    def accepts(self) -> bool:
        return not self.errors

    def __str__(self) -> str:
        return self.text.replace("\n", " | ")


def verify(
    leaf: bytes, untrusted: Sequence[bytes], pki: Pki, at: datetime, folder: Path
) -> Verdict:
    """Whether a client that trusts the root of `pki` connects to a server that sends `leaf` and
    `untrusted` (DER) at the time `at`. `folder` is for files that the command reads."""
    files = {"leaf": [leaf], "untrusted": list(untrusted), "trusted": [pki.trusted]}
    for name, certificates in files.items():
        (folder / name).write_text("".join(map(pem, certificates)))
    command = [
        "openssl", "verify", "-no-CApath", "-no-CAstore", "-CAfile", "trusted",
        *(["-untrusted", "untrusted"] if untrusted else []),
        "-purpose", "sslserver", "-auth_level", "2", "-attime", str(int(at.timestamp())),
        "leaf",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    errors = {int(number) for number in re.findall(r"^error (\d+) at", text, re.MULTILINE)}
    if done.returncode and not errors:
        errors = {-1}
    return Verdict(frozenset(errors), text.strip())
