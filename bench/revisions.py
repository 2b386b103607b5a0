"""Earlier revisions of this service, each with its own sources, environment and settings."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_SCRIPTS = Path(sys.executable).parent
# The names that a setting had in earlier revisions, the newest first. The bench leaves a setting
# out where a revision knows none of its names.
_EARLIER_NAMES: Mapping[str, tuple[str, ...]] = {
    "CC_HOSTNAME_PROOF": (),
    "CC_MASTER_KEY": (),
    "CC_RATE_LIMIT": (),
}


@dataclass(frozen=True)
class Revision:
    """The service at one revision: its sources, and the folder of its commands."""

    name: str
    sources: Path
    scripts: Path

    def settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        """`settings`, by the names that this revision has for them.

        Raises RuntimeError where it has no name for one that every revision should have.
        """
        config = (self.sources / "src/customer_certificates/config.py").read_text()
        named = {}
        for name, value in settings.items():
            known = [one for one in (name, *_EARLIER_NAMES.get(name, ())) if f'"{one}"' in config]
            if known:
                named[known[0]] = value
            elif name not in _EARLIER_NAMES:
                raise RuntimeError(
                    f"Revision {self.name} has no setting {name}. Add the name that it has there "
                    "to bench/revisions.py."
                )
        return named


THIS = Revision("customer-certificates", _ROOT, _SCRIPTS)


def check_out(revision: str, folder: Path) -> Revision:
    """`revision`, a name that git knows, in `folder`, with an environment from its lock file.

    It is an export and no worktree: a bench that is killed leaves nothing in the repository.
    """
    name = _git("rev-parse", "--short", f"{revision}^{{commit}}").decode().strip()
    sources = folder / name
    with tarfile.open(fileobj=io.BytesIO(_git("archive", name))) as archive:
        archive.extractall(sources, filter="data")
    subprocess.run(
        [_uv(), "sync", "--frozen", "--no-dev", "--quiet", "--python", sys.executable],
        cwd=sources,
        check=True,
    )
    return Revision(name, sources, sources / ".venv" / "bin")


def _git(*arguments: str) -> bytes:
    ended = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True)
    if ended.returncode != 0:
        raise SystemExit(f"git {arguments[0]} failed: {ended.stderr.decode().strip()}")
    return ended.stdout


def _uv() -> str:
    own = _SCRIPTS / "uv"
    return str(own) if own.exists() else "uv"
