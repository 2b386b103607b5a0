"""A coverage-guided fuzzer over what reads certificates and keys: `python -m tests.pki.fuzzing
FOLDER EVERY [libFuzzer's options]`. It begins with the corpus (with EVERY 8: with each eighth case
of it), and keeps in FOLDER what it finds. Each target has a process of its own, forked from this
one: to import instrumented code takes longer than a short search.
"""

import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["customer_certificates"]):
    from customer_certificates.pki import validation
    from customer_certificates.pki.chain.trust_store import Roots
    from customer_certificates.pki.keys import cost_limits, pkcs12
    from customer_certificates.pki.keys.loading import pkcs8
    from customer_certificates.pki.keys.reading import read_key
    from customer_certificates.pki.names import hostnames
    from customer_certificates.pki.pem import reader
    from customer_certificates.pki.submission import Submission
    from customer_certificates.pki.x509 import certificate

from ..corpus.case import CASES, ROOTS, Case, read

# Lower cost limits, so that the fuzzer tries more inputs in the same time.
cost_limits.MOST_ITERATIONS = 5_000  # pyrefly: ignore[bad-assignment]
cost_limits.MOST_SCRYPT_WORK = 2**14
_PASSPHRASE = "Passphrase-canary-7f3a9c"
_NOW = datetime(2026, 11, 24, tzinfo=UTC)
_ROOTS = Roots.from_pem(ROOTS.read_bytes())
_BETWEEN = b"\0\0"


def _pem(data: bytes) -> None:
    for block in reader.read_pem(data.decode("utf-8", "replace"), "body").blocks:
        assert block.label


def _key(data: bytes) -> None:
    read = read_key(data, _PASSPHRASE)
    assert read.key or read.findings
    if read.key:
        assert pkcs8(read.key)


def _pkcs12(data: bytes) -> None:
    read = pkcs12.read_pkcs12(data, _PASSPHRASE)
    assert read.key or read.findings


def _certificate(data: bytes) -> None:
    read = certificate.read(data, "body", 1)
    if isinstance(read, certificate.Certificate):
        shown = certificate.leaf_view(read)
        assert all(hostnames.normalise(name) == name for name in shown.hostnames if name[0] != "*")


def _name(data: bytes) -> None:
    name = hostnames.normalise(data.decode("utf-8", "replace"))
    assert name is None or hostnames.normalise(name) == name


def _whole(data: bytes) -> None:
    body, chain, key = (*data.split(_BETWEEN, 2), b"", b"")[:3]
    material = Submission(
        body.decode("utf-8", "replace"), chain.decode("utf-8", "replace"), key, b"", _PASSPHRASE
    )
    answer = validation.encode(validation.validate(material, _NOW, _ROOTS))
    examined = validation.decode(answer)
    assert examined.leaf or examined.findings


def _wholes(case: Case) -> Iterator[bytes]:
    sent = case.material
    if not sent.pkcs12:
        yield _BETWEEN.join((sent.body.encode(), sent.chain.encode(), sent.private_key))


def _ders(case: Case) -> Iterator[bytes]:
    for block in reader.read_blocks(case.material.body, "body").blocks:
        yield block.der


# Each with what of a case of the corpus it begins with.
TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[Case], Iterator[bytes]]]] = {
    "pem": (_pem, lambda case: iter([case.material.body.encode()])),
    "key": (_key, lambda case: iter([case.material.private_key])),
    "pkcs12": (_pkcs12, lambda case: iter([case.material.pkcs12])),
    "certificate": (_certificate, _ders),
    "name": (_name, lambda case: iter([name.encode() for name in case.hostnames])),
    "examination": (_whole, _wholes),
}


def main() -> None:
    folder, every, *options = sys.argv[1:]
    cases = [read(path) for path in sorted(CASES.glob("*.json"))[:: int(every)]]
    processes = {
        target: _start(target, cases, Path(folder) / target, options) for target in TARGETS
    }
    ended = {target: os.waitpid(pid, 0)[1] for target, pid in processes.items()}
    failed = [target for target, status in ended.items() if status != 0]
    sys.exit(f"found something: {', '.join(failed)}" if failed else 0)


def _start(target: str, cases: list[Case], folder: Path, options: list[str]) -> int:
    """The id of the process that fuzzes `target`."""
    folder.mkdir()
    if pid := os.fork():
        return pid
    run, seeds = TARGETS[target]
    begun = folder / "seeds"
    begun.mkdir()
    for case in cases:
        for number, seed in enumerate(seeds(case)):
            if seed:
                (begun / f"{case.name}-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], str(begun), f"-artifact_prefix={folder}/", *options], run)
    atheris.Fuzz()
    os._exit(0)


if __name__ == "__main__":
    main()
