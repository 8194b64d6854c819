"""`tendril up --demo`, started for real: it comes up, leads flow, it ends without a trace, and it goes on where it
stood."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tendril.embedded.ports import free_port
from tendril.place import read_place
from tests.support.waiting import eventually

UP_SECONDS = 120.0
SPEED = 20_000  # a business day in about four seconds


class Up:
    """One `tendril up` as a child process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = {name: free_port() for name in ("GATEWAY_PORT", "TRACKER_PORT", "INBOUND_SMTP_PORT")}
        self.mailbox_port = free_port()
        self.child: asyncio.subprocess.Process | None = None
        self.output = home.parent / "up.log"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.ports['GATEWAY_PORT']}/api/v1"

    async def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TENDRIL_")}
        ports = {f"TENDRIL_{name}": str(port) for name, port in self.ports.items()}
        with self.output.open("ab") as output:
            self.child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tendril",
                "up",
                "--demo",
                "--speed",
                str(SPEED),
                "--mailbox-port",
                str(self.mailbox_port),
                env={**kept, **ports, "TENDRIL_HOME": str(self.home)},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        await eventually(self._is_up, UP_SECONDS, "tendril is not up")

    async def _is_up(self) -> bool:
        assert self.child is not None
        if self.child.returncode is not None:
            pytest.fail(f"ended with {self.child.returncode}: {self.output.read_text()}")
        return read_place(self.home) is not None

    async def end(self, number: int = signal.SIGINT) -> int:
        assert self.child is not None
        if self.child.returncode is None:
            self.child.send_signal(number)
        return await asyncio.wait_for(self.child.wait(), 60)

    def family(self) -> list[psutil.Process]:
        """Every process below it."""
        assert self.child is not None
        return list(psutil.Process(self.child.pid).children(recursive=True))


class Browser:
    """A signed-in admin."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self._http = httpx.AsyncClient(base_url=up.api, timeout=30)

    async def sign_in(self) -> None:
        password = json.loads((self._up.home / "secrets.json").read_text())["admin_password"]

        async def token() -> str | None:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._http.post(
                    "auth/token", data={"username": "admin@demo.example", "password": password}
                )
                return str(answer.json()["access_token"]) if answer.is_success else None
            return None

        # Few tries: an address with many failures has to wait.
        await eventually((self._up.home / "demo.json").exists, 60, "the demo does not begin")
        self._http.headers["Authorization"] = f"Bearer {await eventually(token, 30, 'nobody can sign in')}"

    async def overview(self) -> dict[str, Any]:
        answer = await self._http.get("metrics/overview")
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def dashboard_answers(self) -> bool:
        return (await self._http.get(self._up.api.removesuffix("api/v1"))).is_success

    async def close(self) -> None:
        await self._http.aclose()


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    running = Up(tmp_path / "home")
    yield running
    await running.end()


@pytest.mark.system
async def test_the_demo_lives_ends_cleanly_and_goes_on(up: Up) -> None:
    await up.start()
    browser = Browser(up)
    await browser.sign_in()

    async def mail_is_read() -> dict[str, Any] | None:
        overview = await browser.overview()
        return overview if overview["rates"]["open"] > 0 and overview["totals"]["leads"] >= 12 else None

    before = await eventually(mail_is_read, 120, "no lead has opened a mail")
    assert before is not None
    assert await browser.dashboard_answers()
    await browser.close()
    assert (up.home / "secrets.json").stat().st_mode & 0o077 == 0

    family = up.family()
    assert len(family) >= 9  # five services, mailbox, demo, RabbitMQ, mongod
    assert await up.end() == 0
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert read_place(up.home) is None
    stood_at = datetime.fromisoformat(json.loads((up.home / "clock.json").read_text())["business"])

    await up.start()
    again = Browser(up)
    await again.sign_in()
    after = await again.overview()
    await again.close()
    assert after["totals"]["leads"] >= before["totals"]["leads"]
    assert after["totals"]["sequences"] == 1
    assert datetime.fromisoformat(after["business_now"]) > stood_at
    assert datetime.fromisoformat(before["business_now"]) < stood_at
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tendril",
        "up",
        env={**os.environ, "TENDRIL_HOME": str(up.home)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            _, said = await second.communicate()
    finally:
        if second.returncode is None:
            second.terminate()  # it runs beside the first one: that must not outlive the test
            await asyncio.wait_for(second.wait(), 60)
    assert second.returncode == 1
    assert b"runs already" in said


@pytest.mark.system
async def test_nothing_is_left_when_it_is_killed(up: Up) -> None:
    await up.start()
    family = up.family()
    assert up.child is not None
    up.child.kill()
    await asyncio.wait_for(up.child.wait(), 60)

    def all_gone() -> bool:
        return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)

    await eventually(all_gone, 60, "orphans are left")


@pytest.mark.system
async def test_a_port_in_use_is_said_before_anything_starts(up: Up) -> None:
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", up.ports["TRACKER_PORT"])
    async with taken:
        with pytest.raises(pytest.fail.Exception, match=rf"port {up.ports['TRACKER_PORT']} is in use"):
            await up.start()
    assert not (up.home / "rabbitmq").exists()
