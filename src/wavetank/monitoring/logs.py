"""Log lines as Prometheus writes them: logfmt or JSON on stderr."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys

from wavetank.model.quoting import quote

__all__ = ["JsonLines", "Logfmt", "set_up_logging"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_SHOWN = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}


class Logfmt(logging.Formatter):
    """``time=... level=INFO source=... msg="..."``."""

    def format(self, record: logging.LogRecord) -> str:
        time, level, text = _fields(self, record)
        return f"time={time} level={level} source={record.module} msg={quote(text)}"


class JsonLines(logging.Formatter):
    """``{"time": ..., "level": "INFO", "source": ..., "msg": ...}``."""

    def format(self, record: logging.LogRecord) -> str:
        time, level, text = _fields(self, record)
        return json.dumps({"time": time, "level": level, "source": record.module, "msg": text})


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> tuple[str, str, str]:
    """Time, level and text."""
    moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    time = f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z"
    return time, _SHOWN.get(record.levelno, record.levelname), text


def set_up_logging(level: str, style: str = "logfmt") -> None:
    """Send this process's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else Logfmt())
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("numba").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
