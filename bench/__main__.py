"""Measures the service beside FastAPI, OpenBao, plain SQL and another revision of it, by turns."""

import os
import tempfile
import traceback
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path

from . import disk, load
from .contenders import Contenders
from .report import Report, write_tables
from .revisions import check_out
from .sections import SECTIONS, USUAL, Bench

_TABLES = Path(__file__).parent.parent / "docs" / "reference" / "performance.md"


def main() -> None:
    parser = ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run in a round")
    parser.add_argument("--base", metavar="REV", help="measure this revision, too")
    parser.add_argument(
        "--write", action="store_true", help="write the tables into docs/reference/performance.md"
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="measure these alone")
    parser.add_argument(
        "--million", action="store_true", help="compare 1,000,000 certificates with 1,000 (long)"
    )
    parser.add_argument("--users", type=int, default=100_000, help="for a list's plan among many")
    parser.add_argument(
        "--certificates", type=int, default=disk.CERTIFICATES, help="for their size on disk"
    )
    options = parser.parse_args()
    wanted = options.only or [*USUAL, *(["million"] if options.million else [])]
    load.check_tools()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # PostgreSQL's folder is in it, and PostgreSQL may run as another user.
        folder.chmod(0o711)
        base = check_out(options.base, folder) if options.base else None
        report = Report(
            base.name if base else None,
            options.rounds,
            options.seconds,
            len(os.sched_getaffinity(0)),
        )
        contenders = Contenders(folder, stack, base)
        bench = Bench(contenders, report, options.users, options.certificates)
        failed = []
        for name in wanted:
            if not _measure(name, bench):
                failed.append(name)
            if options.write:
                # Now, as the last ones take long.
                write_tables(_TABLES, report)
    print(f"\n{report.markdown()}")
    if failed:
        raise SystemExit(f"Not measured, see above: {', '.join(failed)}.")


def _measure(name: str, bench: Bench) -> bool:
    """Whether it was measured. What fails does not cost the figures of the others."""
    print(f"{name}: load average {os.getloadavg()[0]:.1f}", flush=True)
    try:
        SECTIONS[name](bench)
    except Exception:
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    main()
