"""Email: one message to all recipients, over SMTP in a thread.

Mirrors notify/email/email.go: implicit TLS on port 465, STARTTLS where it is required, CRAM-MD5, PLAIN
or LOGIN as the server offers, quoted-printable text and HTML, threading headers.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import smtplib
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses
from typing import Final

from wavetank.alerting.config.receivers import EmailConfig, canonical_header
from wavetank.alerting.receivers.notification import Notification, NotifyError, secret
from wavetank.gotemplate import TemplateError
from wavetank.limits import SMTP_SECONDS_MAX
from wavetank.monitoring.config.http import TLSConfig
from wavetank.monitoring.http_client import ssl_context

__all__ = ["EmailIntegration", "message_of"]

_SUBJECT: Final = '{{ template "email.default.subject" . }}'
_IMPLICIT_TLS_PORT: Final = "465"


class EmailIntegration:
    """One email section of a receiver."""

    name = "email"

    def __init__(self, index: int, section: EmailConfig) -> None:
        self.index = index
        self.send_resolved = section.send_resolved
        self._section = section

    async def notify(self, notification: Notification, seconds: float) -> None:
        """Deliver within ``seconds``. Raises NotifyError."""
        try:
            message = message_of(self._section, notification)
        except TemplateError as error:
            raise NotifyError(f"failed to template: {error}", retry=False) from None
        except ValueError as error:
            raise NotifyError(f"the message cannot be made: {error}", retry=False) from None
        try:
            limit = min(seconds, SMTP_SECONDS_MAX)
            await _in_thread(lambda: _send(self._section, message, limit))
        except TimeoutError:
            raise NotifyError(
                f"no answer within {limit:g} s", retry=True, reason="contextDeadlineExceeded"
            ) from None
        except smtplib.SMTPResponseException as error:
            text = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else ""
            raise NotifyError(f"{error.smtp_code} {text}", retry=error.smtp_code // 100 == 4) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotifyError(str(error) or type(error).__name__, retry=True) from None

    async def close(self) -> None:
        """There is nothing to close: each message has a connection and a thread of its own."""


async def _in_thread(work: Callable[[], None]) -> None:
    """Run in a daemon thread: a mail server that hangs holds up no receiver and no end of the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failed: BaseException | None = None
        try:
            work()
        except BaseException as error:
            failed = error
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(finish, failed)

    threading.Thread(target=run, name="smtp", daemon=True).start()
    await done


def message_of(config: EmailConfig, n: Notification) -> EmailMessage:
    """The message. Raises TemplateError; ValueError for a header with a line break in it."""
    message = EmailMessage(policy=SMTP)
    headers = {canonical_header(name): n.text(value) for name, value in config.headers.items()}
    headers.setdefault("Subject", n.text(_SUBJECT))
    headers.setdefault("To", n.text(config.to))
    headers.setdefault("From", n.text(config.from_))
    host = socket.gethostname()
    headers.setdefault("Message-Id", f"<{n.key_hash[:24]}.{int(n.now * 1e6)}@{host}>")
    if config.threading.enabled:
        day = dt.datetime.fromtimestamp(n.now, dt.UTC).strftime("%Y-%m-%d")
        by_day = day if config.threading.thread_by_date == "daily" else ""
        thread = hashlib.sha256(f"{n.key}{by_day}".encode()).hexdigest()[:16]
        headers["References"] = headers["In-Reply-To"] = f"<alert-{thread}@alertmanager>"
    headers.setdefault("Date", format_datetime(dt.datetime.fromtimestamp(n.now, dt.UTC)))
    for name, value in headers.items():
        message[name] = value
    text = n.text(config.text) if config.text else None
    html = n.html(config.html) if config.html else None
    if text is not None:
        message.set_content(text, cte="quoted-printable")
    if html is not None and text is not None:
        message.add_alternative(html, subtype="html", cte="quoted-printable")
    elif html is not None:
        message.set_content(html, subtype="html", cte="quoted-printable")
    return message


def _send(config: EmailConfig, message: EmailMessage, seconds: float) -> None:
    """Blocking. Raises OSError, smtplib.SMTPException, NotifyError."""
    host, _, port = config.smarthost.rpartition(":")
    host = host.strip("[]")
    implicit = config.force_implicit_tls
    implicit = port == _IMPLICIT_TLS_PORT if implicit is None else implicit
    tls = config.tls_config or TLSConfig()
    name = tls.server_name or host
    with ExitStack() as stack:
        server: smtplib.SMTP
        if implicit:
            server = smtplib.SMTP_SSL(
                host, int(port), config.hello, timeout=seconds, context=ssl_context(tls)
            )
        else:
            server = smtplib.SMTP(host, int(port), config.hello, timeout=seconds)
        stack.enter_context(server)
        server.ehlo_or_helo_if_needed()
        if not implicit and config.require_tls:
            if not server.has_extn("starttls"):
                raise NotifyError(
                    f"'require_tls' is true (default) but \"{name}\" does not advertise the STARTTLS "
                    "extension",
                    retry=True,
                )
            server.starttls(context=ssl_context(tls))
            server.ehlo()
        _log_in(server, config)
        sender = [address for _, address in getaddresses([str(message["From"])])]
        if len(sender) != 1:
            raise NotifyError(f"must be exactly one 'from' address (got: {len(sender)})", retry=False)
        recipients = [address for _, address in getaddresses([str(message["To"])])]
        server.send_message(message, sender[0], recipients)


def _log_in(server: smtplib.SMTP, config: EmailConfig) -> None:
    """As upstream: without a user name there is none."""
    if not config.auth_username or not server.has_extn("auth"):
        return
    offered = server.esmtp_features["auth"].upper().split()
    password = secret(config.auth_password, config.auth_password_file, "auth_password")
    cram = secret(config.auth_secret, config.auth_secret_file, "auth_secret")
    server.user = config.auth_username
    if "CRAM-MD5" in offered and cram:
        server.password = cram
        server.auth("CRAM-MD5", server.auth_cram_md5)
    elif "PLAIN" in offered and password:
        server.password = password
        server.auth("PLAIN", server.auth_plain)
    elif "LOGIN" in offered and password:
        server.password = password
        server.auth("LOGIN", server.auth_login)
    else:
        mechanisms = server.esmtp_features["auth"].strip()
        raise NotifyError(f"unknown auth mechanism: {mechanisms}", retry=True)
