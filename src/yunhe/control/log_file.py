"""Control's structured log: one JSON object a line, rotated, without secrets."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from yunhe.core.units import MIB

FILE_BYTES: Final = 10 * MIB
FILES_KEPT: Final = 5
MESSAGE_CHARS_MAX: Final = 4000
#: Credentials as they look in text: API keys, session, agent and join tokens, bearer headers, passwords in URLs.
_SECRET: Final = re.compile(r"\b(y[hsaj]_[a-z2-7]{12}_)[A-Za-z0-9_-]+|(Bearer )\S+|(://[^:/@\s]+:)[^@\s]+(?=@)")


def redact(text: str) -> str:
    """The text with anything that looks like a credential cut to its public part."""
    return _SECRET.sub(lambda found: f"{found.group(1) or found.group(2) or found.group(3)}***", text)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: at, level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage())[:MESSAGE_CHARS_MAX],
        }
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))[-4 * MESSAGE_CHARS_MAX :]
        return json.dumps(line, ensure_ascii=False)


def start_logging(path: Path) -> None:
    """Send everything from warnings up, and our own from info up, to the file. Raises OSError when it cannot be."""
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("yunhe").setLevel(logging.INFO)
