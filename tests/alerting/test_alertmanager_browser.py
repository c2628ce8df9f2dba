"""The page in a browser: what somebody on call does there."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from alerting_rig import Start

playwright = pytest.importorskip("playwright.async_api")
expect = playwright.expect
expect.set_options(timeout=30_000)
CHROMIUM = os.environ.get("WAVETANK_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
CONFIG = """
route: {receiver: team.x, group_by: [alertname], group_wait: 1h}
receivers: [{name: team.x}, {name: other}]
"""
ALERTS: list[dict[str, Any]] = [
    {"labels": {"alertname": "Slow", "i": str(i)}, "annotations": {"summary": f"<b>{i}</b> & more"}}
    for i in range(3)
]


async def test_an_alert_is_found_silenced_and_let_speak_again(start: Start) -> None:
    am = await start(CONFIG)
    await am.alerts(*ALERTS, {"labels": {"alertname": "Full"}})
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page()
        faults: list[str] = []
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        # As default templates link to it.
        await page.goto(f"{am.url}/#/alerts?receiver=team%5C.x")
        await expect(page.get_by_text("4 alerts in 2 groups")).to_be_visible()
        await expect(page.get_by_text("<b>1</b> & more")).to_be_visible()
        await page.get_by_role("button", name="i=1").click()
        await expect(page.get_by_text("1 alert in 1 group")).to_be_visible()
        await expect(page.get_by_label("Matchers")).to_have_value('i="1"')

        await page.locator("li").get_by_role("link", name="Silence").click()
        await page.get_by_role("button", name="Create").click()
        await expect(page.get_by_text("Say who creates it.")).to_be_visible()
        await page.get_by_label("Created by").fill("ann")
        await page.get_by_label("Comment").fill("known")
        await page.get_by_label("Duration").fill("1h30m")
        await page.get_by_role("button", name="Preview alerts").click()
        await expect(page.get_by_text("1 alert matches now.")).to_be_visible()
        await page.get_by_role("button", name="Create").click()
        await expect(page.locator("dd").get_by_text("known")).to_be_visible()
        (silence,) = am.am.silences.all()
        assert {(m.name, m.value) for m in silence.matchers} == {("alertname", "Slow"), ("i", "1")}
        assert round(silence.ends_at - silence.starts_at) in range(5390, 5402)

        await page.get_by_role("link", name="Alerts", exact=True).click()
        await expect(page.get_by_text("3 alerts in 2 groups")).to_be_visible()
        await page.get_by_label("Silenced").check()
        await expect(page.get_by_text("4 alerts in 2 groups")).to_be_visible()
        await page.get_by_role("link", name=f"silence {silence.id[:8]}").click()
        await page.get_by_role("button", name="Expire").click()
        await page.get_by_role("button", name="Really?").click()
        await expect(page.locator("dd").get_by_text("expired")).to_be_visible()
        await browser.close()
    assert faults == []
