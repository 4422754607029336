"""The log: one JSON object a line, of what happened and never of whom.

No face, embedding, name of a person or a file, query or key is written: routes stand there by their template, keys by
their id, errors by their type and the lines of code that they went through, without their message.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any, Final

LOGGER: Final = logging.getLogger("vlrface.service")


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= described(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True, default=str)


def note(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write a line; fields that are None are left out."""
    LOGGER.log(level, event, extra={"fields": {name: value for name, value in fields.items() if value is not None}})


def described(error: BaseException) -> dict[str, Any]:
    """An error by its type and where it came from. Its message may hold names, and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"error": type(error).__name__, "at": [f"{frame.filename}:{frame.lineno}" for frame in frames[-8:]]}


def log_config(level: str = "INFO") -> dict[str, Any]:
    """For `logging.config.dictConfig` and uvicorn: lines of JSON on standard error; no second log of requests."""
    handler = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
    named = {"handlers": ["lines"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "vlrface.service.journal.JsonLines"}},
        "handlers": {"lines": handler},
        "loggers": {
            "vlrface.service": named,
            "uvicorn": named,
            "uvicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
            # It writes about the bytes of bodies.
            "python_multipart": {"handlers": [], "level": "CRITICAL", "propagate": False},
        },
    }
