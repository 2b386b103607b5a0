"""One case of the corpus, as it is made and as it is stored."""

import base64
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from customer_certificates.errors import Severity
from customer_certificates.pki.submission import Submission, Trust

from .authority import NOW, WWW
from .keys import ec_key, pkcs8

CASES = Path(__file__).parent / "cases"
ROOTS = Path(__file__).parent / "roots.pem"

Expected = tuple[str, Severity, str]


@dataclass(frozen=True)
class Case:
    """An upload, its time, and all expected findings.

    `made` says how it was made. `known` are intermediates (DER) from earlier uploads. `findings`
    are the code, severity and field of each, in any order. `served`: how many certificates.
    `key`: whether a private key could be read, good or not.
    """

    name: str
    made: str
    material: Submission
    now: datetime = NOW
    known: tuple[bytes, ...] = ()
    findings: tuple[Expected, ...] = ()
    trust: Trust = "public"
    hostnames: tuple[str, ...] = (WWW,)
    served: int = 2
    key: bool = True

    def but(self, **changes: object) -> "Case":
        return replace(self, **changes)

    def write(self, folder: Path = CASES) -> None:
        """As JSON, to be read by people too; what is empty is left out."""
        material = self.material
        sent = {
            "body": material.body,
            "chain": material.chain,
            "private_key": base64.b64encode(material.private_key).decode(),
            "pkcs12": base64.b64encode(material.pkcs12).decode(),
            "passphrase": material.passphrase,
        }
        known = [base64.b64encode(one).decode() for one in self.known]
        stored = {
            "made": self.made,
            "now": self.now.isoformat().replace("+00:00", "Z"),
            "material": {key: value for key, value in sent.items() if value not in ("", None)},
            **({"known": known} if known else {}),
            "expected": {
                "findings": sorted(map(list, self.findings)),
                "trust": self.trust,
                "hostnames": list(self.hostnames),
                "served": self.served,
                "key": self.key,
            },
        }
        text = json.dumps(stored, indent=1, ensure_ascii=True)
        (folder / f"{self.name}.json").write_text(text + "\n")


def read(path: Path) -> Case:
    """The case that `write` left at `path`."""
    stored = json.loads(path.read_text())
    sent, expected = stored["material"], stored["expected"]
    return Case(
        path.stem,
        stored["made"],
        Submission(
            sent.get("body", ""),
            sent.get("chain", ""),
            base64.b64decode(sent.get("private_key", "")),
            base64.b64decode(sent.get("pkcs12", "")),
            sent.get("passphrase"),
        ),
        datetime.fromisoformat(stored["now"]).astimezone(UTC),
        tuple(map(base64.b64decode, stored.get("known", ()))),
        tuple((code, severity, where) for code, severity, where in expected["findings"]),
        expected["trust"],
        tuple(expected["hostnames"]),
        expected["served"],
        expected["key"],
    )


def pem(der: bytes, label: str = "CERTIFICATE", width: int = 64) -> str:
    """`der` as RFC 7468 writes it, or in lines of another width."""
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + width] for at in range(0, len(text), width))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def pems(*ders: bytes) -> str:
    return "".join(map(pem, ders))


def key_pem(hostname: str = WWW) -> bytes:
    """The private key of `hostname`, as most people have it: PKCS#8 in PEM."""
    return pem(pkcs8(ec_key(hostname)), "PRIVATE KEY").encode()


def sent(body: str, key: bytes | None = None, chain: str = "") -> Submission:
    """A body with the key of the usual leaf, unless another is given."""
    return Submission(body, chain, key_pem() if key is None else key)


def error(code: str, where: str = "body") -> Expected:
    return code, "error", where


def warning(code: str, where: str = "body") -> Expected:
    return code, "warning", where


def info(code: str, where: str = "body") -> Expected:
    return code, "info", where
