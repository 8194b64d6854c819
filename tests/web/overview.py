"""The overview page and the way to it, as a person would use them."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

LIVE_MS = 10_000


class Overview:
    def __init__(self, page: Page) -> None:
        self.page = page

    async def sign_in(self, email: str, password: str) -> None:
        await self.page.get_by_label("E-mail").fill(email)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()

    @property
    def indicator(self) -> Locator:
        return self.page.get_by_test_id("live-indicator").locator("visible=true")

    async def is_live(self) -> None:
        await expect(self.indicator).to_have_attribute("data-connection", "live")

    def today(self, measure: str) -> Locator:
        """A figure of today: ``sent``, ``opened``, …"""
        return self.page.get_by_test_id(f"today-{measure}").locator("[data-value]")

    async def today_is_more_than(self, measure: str, before: int) -> None:
        await self.page.wait_for_function(
            "([measure, before]) => Number(document.querySelector(`[data-testid=today-${measure}] [data-value]`)"
            "?.textContent.replace(/,/g, '')) > before",
            arg=[measure, before],
            timeout=LIVE_MS,
        )

    async def today_now(self, measure: str) -> int:
        return int((await self.today(measure).inner_text()).replace(",", ""))

    def feed(self, *, name: str, kind: str) -> Locator:
        """Rows of the feed about a lead."""
        return self.page.locator(f"[data-testid=activity][data-kind='{kind}']", has_text=name)
