"""The format of logs other than request logs: JSON, or text on a terminal."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..terminal import escaped, escaped_lines


def configure_logging() -> None:
    """Logs warnings and errors to standard error.

    Writes one JSON object a line, or text to a terminal.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _TextFormatter("%(asctime)s  %(levelname)s  %(message)s")
        if sys.stderr.isatty()
        else _JsonFormatter()
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


class _TextFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return escaped_lines(super().formatException(ei))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return escaped(msgspec.json.encode(line).decode())
