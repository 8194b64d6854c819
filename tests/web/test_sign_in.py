"""Signing in, staying signed in, and being told clearly when it does not work."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, Route, expect

from tests.support.waiting import eventually
from tests.web.overview import Overview
from tests.web.place import Place

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


def refusal(status: int, title: str, detail: str = "", **headers: str) -> Callable[[Route], Awaitable[None]]:
    """A route's answer with a problem document."""

    async def answer(route: Route) -> None:
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": "test"}
        content_type = "application/problem+json"
        await route.fulfill(status=status, headers={"Content-Type": content_type, **headers}, body=json.dumps(body))

    return answer


async def test_a_wrong_password_is_told_and_the_right_one_opens_the_overview(page: Page, place: Place) -> None:
    await page.goto("/")
    await expect(page).to_have_url(f"{place.url}/sign-in")
    await expect(page.get_by_label("Organization")).to_have_value("demo")
    await Overview(page).sign_in(place.email, "not the password")
    await expect(page.get_by_role("alert")).to_contain_text("That did not match.")
    await Overview(page).sign_in(place.email, place.password)
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_too_many_tries_say_how_long_to_wait(page: Page, place: Place) -> None:
    await page.route("**/api/v1/auth/token", refusal(429, "Too many requests", **{"Retry-After": "30"}))
    await page.goto("/sign-in")
    await Overview(page).sign_in(place.email, place.password)
    await expect(page.get_by_role("alert")).to_contain_text("Wait 30 s")


async def test_a_part_that_is_away_is_named(page: Page, place: Place) -> None:
    await page.route("**/api/v1/auth/token", refusal(503, "Unavailable", "MongoDB does not answer."))
    await page.goto("/sign-in")
    await Overview(page).sign_in(place.email, place.password)
    await expect(page.get_by_role("alert")).to_contain_text("MongoDB does not answer.")


async def test_a_deep_link_is_reached_after_signing_in_and_survives_a_reload(page: Page, place: Place) -> None:
    await page.goto("/mailbox")
    await Overview(page).sign_in(place.email, place.password)
    await expect(page.get_by_role("heading", name="Demo mailbox")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Demo mailbox")).to_be_visible()


async def test_the_way_back_leads_nowhere_else(page: Page, place: Place) -> None:
    await page.goto("/sign-in?back=//example.com/")
    await Overview(page).sign_in(place.email, place.password)
    await expect(page).to_have_url(f"{place.url}/")


async def test_an_ended_token_is_renewed_without_a_word(overview: Overview) -> None:
    page = overview.page
    old = json.loads(await page.evaluate("localStorage.getItem('tendril.session')"))
    ended = json.dumps({**old, "expiresAt": 0})
    await page.evaluate("ended => localStorage.setItem('tendril.session', ended)", ended)
    await page.reload()
    await overview.is_live()
    await expect(overview.today("sent")).to_be_visible()
    new = json.loads(await page.evaluate("localStorage.getItem('tendril.session')"))
    assert new["refreshToken"] != old["refreshToken"]


async def test_a_refused_token_is_renewed_and_the_request_sent_again(overview: Overview) -> None:
    page = overview.page
    refused = 0

    async def refuse_once(route: Route) -> None:
        nonlocal refused
        refused += 1
        if refused > 1:
            await route.fallback()
        else:
            await route.fulfill(status=401, content_type="application/problem+json", body="{}")

    await page.route("**/api/v1/sequences*", refuse_once)
    await page.reload()
    await eventually(lambda: refused > 1, message="the request was not sent again")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_an_ended_sign_in_leads_back_to_the_door(overview: Overview) -> None:
    page = overview.page
    ended = json.dumps({"accessToken": "ended", "refreshToken": "ended", "expiresAt": 0})
    await page.evaluate("ended => localStorage.setItem('tendril.session', ended)", ended)
    await page.reload()
    await expect(page.get_by_role("heading", name="Sign in to Tendril")).to_be_visible()


async def test_signing_out_forgets_the_tokens(overview: Overview) -> None:
    page = overview.page
    await page.get_by_role("button", name="Account").locator("visible=true").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in to Tendril")).to_be_visible()
    assert await page.evaluate("localStorage.getItem('tendril.session')") is None
    await page.goto("/")
    await expect(page.get_by_role("heading", name="Sign in to Tendril")).to_be_visible()
