"""Takes the pictures of the documentation from a running gateway.

``python -m tests.web.screenshots http://127.0.0.1:8000 EMAIL PASSWORD docs/images``
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, ViewportSize, async_playwright

from tests.web.conftest import CHROMIUM, DESK, FLAGS
from tests.web.overview import Overview

PHONE = ViewportSize(width=390, height=844)


async def take(
    browser: Browser, url: str, email: str, password: str, to: Path, size: str, scheme: Literal["light", "dark"]
) -> None:
    """Overview, mailbox and one message, in one size and colour scheme."""
    context = await browser.new_context(
        base_url=url, viewport=PHONE if size == "phone" else DESK, color_scheme=scheme, device_scale_factor=2
    )
    page = await context.new_page()
    overview = Overview(page)
    await page.goto("/sign-in")
    await overview.sign_in(email, password)
    await overview.is_live()
    await page.get_by_role("slider").wait_for()
    await page.get_by_test_id("activity").first.wait_for()
    await page.screenshot(path=to / f"overview-{size}-{scheme}.png")
    await page.get_by_role("link", name="Demo mailbox").locator("visible=true").click()
    await page.get_by_test_id("mailbox-item").first.click()
    await page.frame_locator("iframe").locator("body").wait_for()
    await page.screenshot(path=to / f"mailbox-{size}-{scheme}.png")
    await context.close()


async def main(url: str, email: str, password: str, to: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for size in ("desk", "phone"):
            await take(browser, url, email, password, to, size, "light")
            await take(browser, url, email, password, to, size, "dark")
        await browser.close()


if __name__ == "__main__":
    _, address, member, secret, folder = sys.argv
    Path(folder).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(address, member, secret, Path(folder)))
