"""Answers are packed for clients elsewhere that ask for it, and only for them."""

from __future__ import annotations

import gzip

import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from wavetank.monitoring.web.packing import Packing

TEXT = "up 1\n" * 1000
ELSEWHERE = ("192.0.2.7", 4000)


def ask(
    app: ASGIApp, encodings: str = "gzip, deflate", client: tuple[str, int] = ELSEWHERE
) -> tuple[str, bytes]:
    """The coding of the answer, and its body as it is on the wire."""
    user = TestClient(Packing(app), client=client)
    with user.stream("GET", "/", headers={"Accept-Encoding": encodings}) as answer:
        body = b"".join(answer.iter_raw())
        if "content-length" in answer.headers:
            assert int(answer.headers["content-length"]) == len(body)
        return answer.headers.get("content-encoding", ""), body


def test_a_client_elsewhere_gets_it_packed() -> None:
    coding, body = ask(PlainTextResponse(TEXT))
    assert coding == "gzip" and len(body) < len(TEXT) / 10
    assert gzip.decompress(body).decode() == TEXT


@pytest.mark.parametrize(
    ("app", "encodings", "client"),
    [
        (PlainTextResponse(TEXT), "gzip", ("127.0.0.1", 1)),
        (PlainTextResponse(TEXT), "gzip", ("::1", 1)),
        (PlainTextResponse(TEXT), "identity", ELSEWHERE),
        (PlainTextResponse(TEXT), "gzip;q=0", ELSEWHERE),
        (PlainTextResponse(TEXT), "br, zstd", ELSEWHERE),
        (StreamingResponse(iter([TEXT[:100], TEXT[100:]])), "gzip", ELSEWHERE),
    ],
)
def test_others_get_it_as_it_is(app: ASGIApp, encodings: str, client: tuple[str, int]) -> None:
    assert ask(app, encodings, client) == ("", TEXT.encode())


def test_what_is_short_or_packed_already_stays() -> None:
    assert ask(PlainTextResponse("ok")) == ("", b"ok")
    assert ask(Response(TEXT, headers={"Content-Encoding": "snappy"}))[0] == "snappy"
