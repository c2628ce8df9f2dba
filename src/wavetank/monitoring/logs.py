"""Log lines as Prometheus writes them: logfmt on stderr."""

from __future__ import annotations

import datetime as dt
import logging
import sys

from wavetank.model.quoting import quote

__all__ = ["Logfmt", "set_up_logging"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_SHOWN = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}


class Logfmt(logging.Formatter):
    """``time=... level=INFO source=... msg="..."``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        level = _SHOWN.get(record.levelno, record.levelname)
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        time = f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03d}Z"
        return f"time={time} level={level} source={record.module} msg={quote(text)}"


def set_up_logging(level: str) -> None:
    """Send this process's log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("numba").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
