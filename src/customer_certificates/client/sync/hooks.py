"""Runs the operator's check and reload commands."""

import shlex
import subprocess

_COMMAND_SECONDS = 120


class PublishingFailure(Exception):  # noqa: N818
    """The server does not serve the current files yet; the message says why."""


class CommandFailed(PublishingFailure):
    """The command ran, and its exit code was not 0."""


def run(command: str | None) -> None:
    """Runs `command`, if there is one. Raises CommandFailed; PublishingFailure if it cannot run."""
    if command is None:
        return
    try:
        done = subprocess.run(  # noqa: S603 - the command is the operator's
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PublishingFailure(f"`{command}` cannot be run: {error}") from None
    if done.returncode < 0:
        # The command was killed, for example for lack of memory, so the check has no result.
        raise PublishingFailure(f"`{command}` was terminated by signal {-done.returncode}")
    if done.returncode != 0:
        output = " ".join((done.stderr or done.stdout).split())[-500:]
        raise CommandFailed(f"`{command}` exited with {done.returncode}: {output}")
