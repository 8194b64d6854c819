"""The overview moves by itself, keeps its pace, and comes back after a cut line."""

from __future__ import annotations

import asyncio
import json

import pytest
from playwright.async_api import Page, Request, WebSocketRoute, expect

from tests.support.waiting import eventually
from tests.web.overview import LIVE_MS, Overview
from tests.web.place import Place

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


class Line:
    """The page's live line, with a hand on it."""

    def __init__(self) -> None:
        self.opened = 0
        self._page_side: WebSocketRoute | None = None

    async def lay(self, page: Page) -> None:
        await page.route_web_socket("**/socket.io/**", self._open)

    def _open(self, route: WebSocketRoute) -> None:
        self.opened += 1
        self._page_side = route
        route.connect_to_server()

    async def cut(self) -> None:
        assert self._page_side is not None
        await self._page_side.close()

    def push(self, event: str, *data: object) -> None:
        """Sends the page an event, as the server would."""
        assert self._page_side is not None
        self._page_side.send("42/live," + json.dumps([event, *data]))


def count_requests(page: Page, path: str) -> list[str]:
    """A list that grows with every request for the path."""
    seen: list[str] = []

    def look(request: Request) -> None:
        if path in request.url:
            seen.append(request.url)

    page.on("request", look)
    return seen


async def test_what_happens_shows_without_a_reload(overview: Overview, place: Place) -> None:
    await expect(overview.today("sent")).to_be_visible()
    sent, enrolled = await overview.today_now("sent"), await overview.today_now("enrolled")
    person = await place.lead_comes_in()
    await expect(overview.feed(name=person.name, kind="lead.captured")).to_be_visible(timeout=LIVE_MS)
    await expect(overview.feed(name=person.name, kind="enrollment.step_sent")).to_be_visible(timeout=LIVE_MS)
    await overview.today_is_more_than("enrolled", enrolled)
    await overview.today_is_more_than("sent", sent)
    await expect(overview.page.get_by_role("table", name="Enrollments, newest first")).to_contain_text(person.name)


async def test_a_lead_over_amqp_and_its_open_click_and_reply_each_show(overview: Overview, place: Place) -> None:
    await expect(overview.today("sent")).to_be_visible()
    before = {measure: await overview.today_now(measure) for measure in ("sent", "opened", "clicked", "replied")}

    async def shows(measure: str, name: str, kind: str, words: str) -> None:
        await expect(overview.feed(name=name, kind=kind).filter(has_text=words)).to_be_visible(timeout=LIVE_MS)
        await overview.today_is_more_than(measure, before[measure])

    person = await place.lead_comes_in()
    mail = await place.mail_to(person)
    await shows("sent", person.name, "enrollment.step_sent", "was sent")
    await place.open(mail)
    await shows("opened", person.name, "enrollment.engagement_noted", "opened")
    await place.click(mail)
    await shows("clicked", person.name, "enrollment.engagement_noted", "clicked in")
    await place.reply(mail)
    await shows("replied", person.name, "lead.replied", "wrote back")
    await expect(overview.feed(name=person.name, kind="enrollment.exited")).to_be_visible(timeout=LIVE_MS)
    row = overview.page.get_by_role("table", name="Enrollments, newest first").get_by_role("row", name=person.name)
    await expect(row).to_contain_text("Exited", timeout=LIVE_MS)


async def test_a_paused_feed_stands_still_and_counts_what_is_new(overview: Overview, place: Place) -> None:
    page = overview.page
    await page.get_by_role("button", name="Pause").click()
    person = await place.lead_comes_in()
    fresh = page.get_by_role("button", name=" new")
    await expect(fresh).to_be_visible(timeout=LIVE_MS)
    await expect(overview.feed(name=person.name, kind="lead.captured")).to_have_count(0)
    await fresh.click()
    await expect(overview.feed(name=person.name, kind="lead.captured")).to_be_visible()


async def test_a_cut_line_comes_back_and_everything_is_read_again(page: Page, overview: Overview) -> None:
    line = Line()
    await line.lay(page)
    await page.reload()
    await overview.is_live()
    asked = count_requests(page, "/api/v1/metrics/overview")
    await line.cut()
    await expect(overview.indicator).to_have_attribute("data-connection", "away")
    await overview.is_live()
    assert line.opened == 2
    await eventually(lambda: asked, message="nothing was read again")


async def test_resync_reads_everything_shown_again(page: Page, overview: Overview) -> None:
    line = Line()
    await line.lay(page)
    await page.reload()
    await overview.is_live()
    await page.wait_for_load_state("networkidle")
    paths = ("metrics/overview", "metrics/timeseries", "activities", "sequences", "enrollments")
    asked = {path: count_requests(page, f"/api/v1/{path}") for path in paths}
    line.push("resync")
    await eventually(lambda: all(asked.values()), message=f"not all was read again: {asked}")


async def test_a_lag_ahead_of_the_page_reads_everything_again(page: Page, overview: Overview) -> None:
    line = Line()
    await line.lay(page)
    await page.reload()
    await overview.is_live()
    await page.wait_for_load_state("networkidle")
    asked = count_requests(page, "/api/v1/sequences")
    line.push("lag", {"cursor": [10**9] * 16, "seconds": 42})
    await expect(overview.indicator).to_contain_text("42 s behind")
    await eventually(lambda: asked, message="nothing was read again")


async def test_a_storm_of_changes_asks_at_most_twice_a_second(page: Page, overview: Overview) -> None:
    line = Line()
    await line.lay(page)
    await page.reload()
    await overview.is_live()
    await page.wait_for_load_state("networkidle")
    asked = count_requests(page, "/api/v1/metrics/overview")
    loop = asyncio.get_running_loop()
    began = loop.time()
    storms = 0
    while loop.time() - began < 3:
        storms += 1
        line.push("changed", {"view": "statistics", "ids": [], "cursor": f"00-{10**9 + storms}"})
        await page.evaluate("new Promise(requestAnimationFrame)")
    assert storms > 20
    assert 3 <= len(asked) <= 9
