"""The page in a browser: groups are found, opened and deleted."""

from __future__ import annotations

import os
import shutil

import pytest
from pushgateway_rig import Start

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
BODY = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\nm 0.5\n'


async def test_a_group_is_found_opened_and_deleted(start: Start) -> None:
    gateway = await start(admin_api=True, flags={"web.enable-admin-api": "true"})
    # values that a path cannot hold as they are
    await gateway.send("PUT", "/metrics/job@base64/L3Zhci_DqQ/none@base64/=/x@base64/PGI-", BODY)
    await gateway.send("PUT", "/metrics/job/other", "n 1\n")
    await gateway.send("PUT", "/metrics/job/other", "n 1 1\n")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        faults: list[str] = []
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(gateway.url)
        await expect(page.get_by_text("push failed")).to_be_visible()
        first = page.locator(".group").filter(has_text='job="/var/é"')
        await expect(first.get_by_text('x="<b>"').first).to_be_visible()
        await first.get_by_text("4 metrics").click()
        await expect(first.get_by_text('le="+Inf"')).to_be_visible()
        if folder := os.environ.get("WAVETANK_SCREENSHOTS"):
            await page.screenshot(path=f"{folder}/pushgateway.png")
        await first.get_by_role("button", name="Delete group").click()
        await first.get_by_role("button", name="Really?").click()
        await expect(page.locator(".group")).to_have_count(1)
        await page.get_by_role("button", name="Delete all groups").click()
        await page.get_by_role("button", name="Really?").click()
        await expect(page.get_by_text("Nothing was pushed yet.")).to_be_visible()
        await page.get_by_role("link", name="Status").click()
        await expect(page.get_by_text("web.enable-admin-api")).to_be_visible()
        await browser.close()
    assert faults == []
    assert len(gateway.gateway._groups) == 0
