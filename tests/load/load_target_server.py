"""A real small HTTP server whose answers can be held back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class Server:
    """Answers every request after ``delay`` seconds, none while ``gate`` is shut; keeps what it saw."""

    port: int = 0
    delay: float = 0.0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[tuple[float, str, str]] = field(default_factory=list)  # (time, path, Host header)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while line := await reader.readline():
                at, path, host = loop.time(), line.split()[1].decode(), ""
                while (header := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode().partition(":")
                    if name.lower() == "host":
                        host = value.strip()
                self.seen.append((at, path, host))
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self.gate.wait()
                status = b"500 Broken" if path.startswith("/broken") else b"200 OK"
                extra = b""
                if path.startswith("/redirect"):
                    status, extra = b"302 Found", f"Location: http://{host}/landed\r\n".encode()
                writer.write(b"HTTP/1.1 " + status + b"\r\n" + extra + b"Content-Length: 2\r\n\r\nok")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
