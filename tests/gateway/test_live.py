from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused

from services.gateway import live
from shared.messaging.push import PushSender, activity_room, organization_room
from tests.gateway.conftest import ADMIN, LEAD, Gateway
from tests.support.waiting import eventually


class Browser:
    """A client that keeps what it hears."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.heard: list[tuple[str, Any]] = []
        for event in ("changed", "activity", "lag", "resync"):
            self.client.on(event, self._hear(event), namespace="/live")

    def _hear(self, event: str) -> Any:
        async def hear(data: Any = None) -> None:
            self.heard.append((event, data))

        return hear

    async def connect(self, gateway: Gateway, auth: Any) -> None:
        url = f"http://127.0.0.1:{gateway.port}"
        await self.client.connect(url, namespaces=["/live"], auth=auth, transports=["websocket"])

    async def ask(self, event: str, room: Any) -> Any:
        return await self.client.call(event, {"room": room}, namespace="/live", timeout=5)


@pytest.fixture
async def browser(stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setattr(live, "LAG_SECONDS", 0.2)
    made = Browser()
    stack.push_async_callback(made.client.disconnect)
    return made


@pytest.fixture
async def pusher(amqp_url: str, stack: AsyncExitStack) -> PushSender:
    made = PushSender(amqp_url)
    stack.push_async_callback(made.close)
    return made


async def test_changes_of_the_own_organization_arrive_and_no_others(
    browser: Browser, pusher: PushSender, gateway: Gateway
) -> None:
    await browser.connect(gateway, {"token": await gateway.token()})
    ack = await browser.ask("subscribe", "organization")
    assert ack["ok"]
    assert isinstance(ack["cursor"], list)

    async def heard_change() -> bool:
        await pusher.send(
            [
                ("changed", {"view": "leads", "n": 1}, organization_room("demo")),
                ("changed", {"n": 2}, organization_room("other")),
            ]
        )
        return any(event == "changed" for event, _ in browser.heard)

    await eventually(heard_change)
    assert {data["n"] for event, data in browser.heard if event == "changed"} == {1}


async def test_a_room_of_one_partition_has_its_cursor_and_lag_comes_by_itself(
    browser: Browser, gateway: Gateway
) -> None:
    await browser.connect(gateway, {"token": await gateway.token()})
    ack = await browser.ask("subscribe", f"lead:{LEAD}")
    assert ack["cursor"].endswith("-0")
    lag = await eventually(lambda: next((data for event, data in browser.heard if event == "lag"), None))
    assert lag is not None
    assert len(lag["cursor"]) == 16


async def test_strangers_are_refused(browser: Browser, gateway: Gateway) -> None:
    for auth in (None, {}, {"token": "x"}, {"token": 5}, {"api_key": "unknown"}):
        with pytest.raises(Refused):
            await browser.connect(gateway, auth)


async def test_rooms_need_a_permission(browser: Browser, gateway: Gateway) -> None:
    await browser.connect(gateway, {"token": await gateway.token("vera@example.com")})
    assert await browser.ask("subscribe", "operations") == {"ok": False, "code": "forbidden"}
    assert (await browser.ask("subscribe", "organization:other"))["ok"] is False
    assert (await browser.ask("subscribe", "organization"))["ok"] is True
    assert (await browser.ask("unsubscribe", "organization"))["ok"] is True


async def test_who_may_not_sign_in_any_more_is_let_go(browser: Browser, gateway: Gateway) -> None:
    await browser.connect(gateway, {"token": await gateway.token()})
    assert browser.client.connected
    out = {f"members.{ADMIN}.active": False}
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": out})
    await eventually(lambda: not browser.client.connected)


async def test_the_feed_of_an_organization_goes_to_who_may_read_its_leads(
    browser: Browser, pusher: PushSender, gateway: Gateway
) -> None:
    scopes = {"api_keys.00000000-0000-0000-0000-000000000007.scopes": ["metrics:read"]}
    await gateway.views.collection("organizations.g1").update_one({"_id": "demo"}, {"$set": scopes})
    other = Browser()
    await browser.connect(gateway, {"token": await gateway.token("vera@example.com")})
    await other.connect(gateway, {"api_key": gateway.key()["X-API-Key"]})
    try:
        for each in (browser, other):
            assert (await each.ask("subscribe", "organization"))["ok"]
        said = ("activity", {"lead_name": "Ada"}, activity_room("demo"))
        changed = ("changed", {"view": "timeline"}, organization_room("demo"))
        await pusher.send([said, changed])
        await eventually(lambda: changed[:2] in browser.heard)
        await eventually(lambda: changed[:2] in other.heard)
        assert said[:2] in browser.heard
        assert said[:2] not in other.heard
        assert (await browser.ask("unsubscribe", "organization"))["ok"]
        await pusher.send([said, ("resync", {}, None)])
        await eventually(lambda: ("resync", {}) in browser.heard)
        assert browser.heard.count(said[:2]) == 1
    finally:
        await other.client.disconnect()
