"""The command `import`: what is there is found, uploaded, and reported."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from rich.text import Text

from ...terminal import escaped
from ..api.client import Api
from ..api.responses import Refused, Unreachable
from ..api.server_url import is_private
from ..text import console
from . import summary
from .pairing import collect, newest_only
from .upload import Result, UploadOptions, upload_all


def run(
    paths: Sequence[Path],
    passphrases: Sequence[str],
    now: datetime,
    *,
    server: str,
    user_id: int,
    options: UploadOptions,
    token: str | None = None,
) -> int:
    """The exit code: 0 where everything is as it was asked for, 1 otherwise, 130 after Ctrl-C."""
    warnings = console(errors=True)
    if not is_private(server):
        warnings.print(
            Text(f"warning: private keys go to {escaped(server)} without TLS.", "yellow")
        )
    collected = collect(paths, passphrases, now)
    if options.replace:
        collected = newest_only(collected)
    results: list[Result] = []
    if collected.candidates:
        with Api(server, user_id, token) as api:
            try:
                api.require_user()
            except (Refused, Unreachable) as error:
                warnings.print(Text(f"customer-certificates: {escaped(error.detail)}", "red"))
                return 1
            uploads = upload_all(api, collected.candidates, options)
            try:
                with closing(uploads):
                    results = summary.with_progress(uploads, len(collected.candidates))
            except KeyboardInterrupt:
                warnings.print("Interrupted. Run it again: what is there is not uploaded twice.")
                return 130
    summary.show(console(), collected, results, now)
    return int(summary.has_failed(collected, results))
