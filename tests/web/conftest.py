"""A gateway with the built web app, and headless Chromium pages that look at it.

``TENDRIL_TEST_GATEWAY`` (with ``TENDRIL_TEST_EMAIL`` and ``TENDRIL_TEST_PASSWORD``) names a gateway that is already
running; without it a whole stack is started.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright, expect

from tests.system.stack import running_stack
from tests.web.overview import Overview
from tests.web.place import Place

WEB = Path(__file__).parents[2] / "web"
CHROMIUM = os.environ.get("TENDRIL_TEST_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
#: A busy machine is slow; what must be quick is given its own time by its test.
expect.set_options(timeout=15_000)
#: Reached only by a browser that hangs.
CLOSE_SECONDS = 60.0
DESK = ViewportSize(width=1440, height=900)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """The gateway under test."""
    given = os.environ.get("TENDRIL_TEST_GATEWAY")
    if given:
        yield Place(given, email=os.environ["TENDRIL_TEST_EMAIL"], password=os.environ["TENDRIL_TEST_PASSWORD"])
        return
    assert (WEB / "dist/index.html").exists(), "the web app is not built: make web"
    async with running_stack(tmp_path_factory.mktemp("web")) as stack:
        yield await Place.of_stack(stack)


@pytest.fixture(scope="session")
def base_url(place: Place) -> str:
    """Where the web app is served, without a slash at the end."""
    return place.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        async with asyncio.timeout(CLOSE_SECONDS):
            await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, base_url: str) -> AsyncIterator[BrowserContext]:
    """A browser profile of its own, on a desk."""
    context = await browser.new_context(base_url=base_url, viewport=DESK, timezone_id="Europe/Berlin")
    context.set_default_timeout(15_000)
    yield context
    async with asyncio.timeout(CLOSE_SECONDS):
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A page; an error that nobody caught fails the test."""
    page = await context.new_page()
    uncaught: list[str] = []
    page.on("pageerror", lambda error: uncaught.append(str(error)))
    yield page
    assert uncaught == []


@pytest_asyncio.fixture(loop_scope="session")
async def overview(page: Page, place: Place) -> Overview:
    """The overview of somebody who just signed in, with the live line open."""
    overview = Overview(page)
    await page.goto("/sign-in")
    await overview.sign_in(place.email, place.password)
    await overview.is_live()
    return overview
