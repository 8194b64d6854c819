"""Takes the pictures of the documentation from a running gateway.

``python -m tests.web.screenshots http://127.0.0.1:8000 EMAIL PASSWORD docs/images``, with ``--all`` at the end every
page in every size and colour scheme, to look at.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from tests.web.conftest import CHROMIUM, DESK, FLAGS
from tests.web.overview import Overview

PHONE = ViewportSize(width=390, height=844)
DOCUMENTED = frozenset({"overview", "overview-phone", "mailbox"})
Size = Literal["desk", "phone"]
Scheme = Literal["light", "dark"]


class Camera:
    """Keeps the pictures that are wanted; ``wanted`` None keeps all."""

    def __init__(self, folder: Path, wanted: frozenset[str] | None) -> None:
        self._folder = folder
        self._wanted = wanted

    async def take(self, page: Page, name: str, size: Size, scheme: Scheme, *, whole: bool = False) -> None:
        stem = name + ("-phone" if size == "phone" else "") + ("-dark" if scheme == "dark" else "")
        if self._wanted is None or stem in self._wanted:
            await page.screenshot(path=self._folder / f"{stem}.png", full_page=whole)


async def walk(
    browser: Browser, url: str, email: str, password: str, camera: Camera, size: Size, scheme: Scheme
) -> None:
    """Sign-in, overview, mailbox and one message, in one size and colour scheme."""
    context = await browser.new_context(
        base_url=url,
        viewport=PHONE if size == "phone" else DESK,
        color_scheme=scheme,
        device_scale_factor=2 if size == "phone" else 1.25,
        reduced_motion="reduce",
    )
    page = await context.new_page()
    overview = Overview(page)
    await page.goto("/sign-in")
    await page.get_by_label("E-mail").wait_for()
    await camera.take(page, "sign-in", size, scheme)
    await overview.sign_in(email, password)
    await overview.is_live()
    await page.get_by_role("slider").wait_for()
    await page.get_by_test_id("activity").first.wait_for()
    await page.wait_for_load_state("networkidle")
    await camera.take(page, "overview", size, scheme)
    await camera.take(page, "overview-whole", size, scheme, whole=True)
    await page.get_by_role("link", name="Demo mailbox").locator("visible=true").click()
    await page.get_by_test_id("mailbox-item").first.wait_for()
    await camera.take(page, "mailbox-list", size, scheme)
    await page.get_by_test_id("mailbox-item").first.click()
    await page.frame_locator("iframe").locator("body").wait_for()
    await camera.take(page, "mailbox", size, scheme)
    await context.close()


async def main(url: str, email: str, password: str, camera: Camera) -> None:
    sizes: tuple[Size, ...] = ("desk", "phone")
    schemes: tuple[Scheme, ...] = ("light", "dark")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for size in sizes:
            for scheme in schemes:
                await walk(browser, url, email, password, camera, size, scheme)
        await browser.close()


if __name__ == "__main__":
    address, member, secret, folder, *options = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(address, member, secret, Camera(Path(folder), None if "--all" in options else DOCUMENTED)))
