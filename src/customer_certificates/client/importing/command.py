"""The command `import`: finds certificates, uploads them, and reports the results."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from rich.text import Text

from ...terminal import escaped, show_json
from ..api.client import Api
from ..api.connection import Server
from ..api.responses import Refused, Unreachable
from ..api.server_url import is_private
from ..text import console, print_error
from . import json_output, summary
from .pairing import Candidate, collect, newest_only
from .upload import Result, UploadOptions, upload_all


def run(
    paths: Sequence[Path],
    passphrases: Sequence[str],
    now: datetime,
    server: Server,
    user_id: int,
    options: UploadOptions,
    *,
    as_json: bool = False,
) -> int:
    """Returns the exit code: 0 if nothing failed, 1 otherwise, 130 after Ctrl-C."""
    warnings = console(errors=True)
    if not is_private(server.url):
        warnings.print(
            Text(f"warning: private keys are sent to {escaped(server.url)} without TLS.", "yellow")
        )
    collected = collect(paths, passphrases, now)
    if options.replace:
        collected = newest_only(collected)
    try:
        results = _upload(collected.candidates, server, user_id, options)
    except (Refused, Unreachable) as error:
        print_error(str(error))
        return 1
    except KeyboardInterrupt:
        warnings.print("Interrupted. Run the command again: it never uploads a certificate twice.")
        return 130
    if as_json:
        show_json(json_output.as_json(collected, results))
    else:
        summary.show(console(), collected, results, now)
    return int(summary.has_failed(collected, results))


def _upload(
    candidates: Sequence[Candidate], server: Server, user_id: int, options: UploadOptions
) -> list[Result]:
    """Raises Refused, Unreachable if the service rejects the user or does not respond."""
    if not candidates:
        return []
    with Api(server, user_id) as api:
        api.require_user()
        with closing(upload_all(api, candidates, options)) as uploads:
            return summary.with_progress(uploads, len(candidates))
