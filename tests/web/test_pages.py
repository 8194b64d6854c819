"""Every page for every reader: by keyboard, by screen reader, on a phone, in the dark, and without jumps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, Route, ViewportSize, expect

from tests.web.overview import Overview
from tests.web.place import Place

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SIZES = {"desk": ViewportSize(width=1440, height=900), "phone": ViewportSize(width=390, height=844)}
Scheme = Literal["light", "dark"]

HOSTILE = {
    "id": "hostile",
    "to": "ada@example.com",
    "from": "coach@demo.example",
    "subject": "<b>Bold</b> claims",
    "at": "2026-11-24T10:00:00Z",
    "lead_id": None,
    "headers": [["Subject", "<b>Bold</b> claims"]],
    "text": "Plain words",
    "html": (
        "<p>Read me</p><script>parent.document.title = 'taken over'</script>"
        '<img src="/out/pixel.gif" onerror="parent.document.title = \'taken over\'">'
        '<form action="/out/form" method="post"><button>Send</button></form>'
    ),
}


async def serve_hostile_mail(page: Page) -> list[str]:
    """Answers for a mailbox with one message that tries to break out; a list of what it sent out."""
    sent_out: list[str] = []

    async def listing(route: Route) -> None:
        await route.fulfill(json={"items": [HOSTILE], "next_cursor": None})

    async def message(route: Route) -> None:
        await route.fulfill(json=HOSTILE)

    async def out(route: Route) -> None:
        sent_out.append(route.request.url)
        await route.abort()

    await page.route("**/out/*", out)
    await page.route("**/api/v1/mailbox?*", listing)
    await page.route("**/api/v1/mailbox/hostile", message)
    return sent_out


async def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 AA."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("rules => axe.run({ runOnly: rules })", RULES)
    return [
        f"{broken['id']}: {node['html'][:160]} {json.dumps(node['any'][:1])[:300]}"
        for broken in found["violations"]
        for node in broken["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
async def test_pages_meet_wcag_and_fit_their_width(browser: Browser, place: Place, size: str, scheme: Scheme) -> None:
    context = await browser.new_context(
        base_url=place.url, viewport=SIZES[size], color_scheme=scheme, reduced_motion="reduce"
    )
    page = await context.new_page()
    overview = Overview(page)

    async def check(name: str) -> None:
        assert await violations(page) == [], name
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} overflows"

    await page.goto("/sign-in")
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    await check("sign-in")
    await overview.sign_in(place.email, place.password)
    await overview.is_live()
    await expect(overview.today("sent")).to_be_visible()
    await check("overview")
    await serve_hostile_mail(page)
    await page.get_by_role("link", name="Demo mailbox").locator("visible=true").click()
    await expect(page.get_by_test_id("mailbox-item")).to_be_visible()
    await check("mailbox")
    await page.get_by_test_id("mailbox-item").click()
    await expect(page.get_by_role("tab", name="Headers")).to_be_visible()
    await check("message")
    await context.close()


async def test_a_message_can_do_nothing(overview: Overview) -> None:
    page = overview.page
    sent_out = await serve_hostile_mail(page)
    await page.goto("/mailbox/hostile")
    await expect(page.get_by_role("heading", name="<b>Bold</b> claims")).to_be_visible()
    frame = page.frame_locator("iframe")
    await expect(frame.get_by_text("Read me")).to_be_visible()
    await frame.get_by_role("button", name="Send").click()
    await expect(page).to_have_title("Demo mailbox · Tendril")
    assert await page.locator("iframe").get_attribute("sandbox") == ""
    assert sent_out == []
    await page.get_by_role("tab", name="Text").click()
    await expect(page.get_by_text("Plain words")).to_be_visible()


async def test_the_mailbox_lists_messages_or_says_there_are_none(overview: Overview) -> None:
    page = overview.page
    await page.get_by_role("link", name="Demo mailbox").locator("visible=true").click()
    await expect(page.get_by_test_id("mailbox-item").first.or_(page.get_by_text("No messages yet"))).to_be_visible()


async def test_a_mail_is_read_as_it_went_out(overview: Overview, place: Place) -> None:
    page = overview.page
    mail = await place.mail_to(await place.lead_comes_in())
    async with place.in_mailbox(mail):
        await page.get_by_role("link", name="Demo mailbox").locator("visible=true").click()
        await page.get_by_test_id("mailbox-item").filter(has_text=mail.to).click()
        await expect(page.get_by_role("heading", name=mail.subject)).to_be_visible()
        await expect(page.frame_locator("iframe").get_by_role("link", name="look")).to_be_visible()
        await page.get_by_role("tab", name="Headers").click()
        await expect(page.get_by_text("List-Unsubscribe-Post")).to_be_visible()


async def test_the_api_is_documented_without_the_internet(page: Page, place: Place) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    await page.goto("/docs")
    described = (await (await page.request.get("/openapi.json")).json())["paths"]
    parts = {tag for path in described.values() for each in path.values() for tag in each["tags"]}
    await expect(page.locator(".opblock-tag")).to_have_count(len(parts))
    await page.get_by_role("heading", name="analytics").click()
    await expect(page.get_by_text("/api/v1/metrics/overview")).to_be_visible()
    assert [url for url in asked if not url.startswith((place.url, "data:", "blob:"))] == []
    assert complaints == []


async def test_a_message_that_is_gone_is_told(overview: Overview) -> None:
    await overview.page.goto("/mailbox/000000000000000000000000")
    await expect(overview.page.get_by_role("alert")).to_be_visible()


async def test_an_unknown_address_says_so(overview: Overview) -> None:
    await overview.page.goto("/nowhere")
    await expect(overview.page.get_by_text("There is no such page.")).to_be_visible()


async def test_the_keyboard_reaches_the_content_and_reads_the_chart(overview: Overview) -> None:
    page = overview.page
    await page.reload()
    await overview.is_live()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    chart = page.get_by_role("slider", name="Sends and responses over time")
    await chart.focus()
    await page.keyboard.press("Home")
    await expect(chart).to_have_attribute("aria-valuenow", "0")
    await page.keyboard.press("ArrowRight")
    await expect(chart).to_have_attribute("aria-valuenow", "1")
    assert "Sent" in (await chart.get_attribute("aria-valuetext") or "")


async def test_a_chosen_theme_stays_and_shows_before_the_first_paint(overview: Overview) -> None:
    page = overview.page
    await page.get_by_role("button", name="Account").locator("visible=true").click()
    await page.get_by_role("menuitemradio", name="Dark").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await page.goto("/", wait_until="commit")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")


async def test_nothing_jumps_while_the_overview_fills(overview: Overview) -> None:
    page = overview.page
    await page.add_init_script(
        "window.shifted = 0; new PerformanceObserver(list => list.getEntries().forEach("
        "entry => { window.shifted += entry.value; })).observe({ type: 'layout-shift', buffered: true });"
    )
    await page.reload()
    await overview.is_live()
    await expect(page.get_by_role("slider")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    assert await page.evaluate("window.shifted") < 0.05


async def test_a_part_that_is_away_is_told_over_the_page(overview: Overview) -> None:
    page = overview.page

    async def away(route: Route) -> None:
        body = {"type": "about:blank", "title": "A part of Tendril is away", "status": 503, "code": "unavailable"}
        await route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(body))

    await page.route("**/api/v1/metrics/overview", away)
    await page.reload()
    await expect(page.get_by_text("A part of Tendril is away")).to_be_visible()
    await page.unroute("**/api/v1/metrics/overview")
    await expect(overview.today("sent")).to_be_visible()
    await expect(page.get_by_text("A part of Tendril is away")).to_be_hidden()
