"""The whole of Tendril as real processes: a private RabbitMQ, a private mongod, every service, and an SMTP sink as
the outside world."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import orjson
from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt, wait_exponential

from shared.clock import write_anchor
from tendril.embedded.mongod import MongoServer
from tendril.embedded.ports import free_port
from tendril.embedded.rabbitmq import RabbitServer
from tests.system.sink import Sink

ORGANIZATION = "demo"
ADMIN = ("admin@demo.example", "a long enough password")
START_SECONDS = 60.0
#: For the connection to a broker that may no longer answer.
CLOSE_SECONDS = 10.0
#: A person's browser: what calls itself a script counts as a machine.
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass
class ServiceProcess:
    """One service as a child. ``name`` is unique (``dispatcher-2``), ``service`` what it runs."""

    name: str
    service: str
    log: Path
    options: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    telemetry_port: int = 0
    child: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.returncode is None

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def signal(self, number: int) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Stack:
    """``copies`` processes of every service (enrollment too, when ``event_store`` is a PostgreSQL address).

    Business time runs at ``business_speed`` from ``business_start`` on: at the wall's pace from now when left out.
    """

    def __init__(
        self,
        home: Path,
        *,
        event_store: str | None = None,
        copies: int = 1,
        env: Mapping[str, str] | None = None,
        business_speed: float | None = None,
        business_start: datetime | None = None,
    ) -> None:
        self.home = home
        self.rabbit = RabbitServer(home / "rabbitmq")
        self.mongo = MongoServer(home / "mongod")
        self.sink = Sink()
        self.copies = copies
        self.event_store = event_store
        self.business_speed = business_speed
        self.business_start = business_start
        self.gateway_port, self.tracker_port, self.smtp_port = free_port(), free_port(), free_port()
        self.services: dict[str, ServiceProcess] = {}
        self._extra_env = dict(env or {})
        self.master_key = secrets.token_bytes(32)
        self._secret_key = secrets.token_urlsafe(32)
        self._token: str | None = None
        self._amqp: aio_pika.abc.AbstractRobustConnection | None = None
        self.http = httpx.AsyncClient(timeout=20.0, headers={"User-Agent": BROWSER})

    def elsewhere(self, home: Path) -> Stack:
        """One that is still to start, in an empty place, with this one's keys and addresses, and before the same
        sink."""
        other = Stack(home, env=self._extra_env)
        other.master_key, other._secret_key, other.sink = self.master_key, self._secret_key, self.sink
        other.gateway_port, other.tracker_port, other.smtp_port = self.gateway_port, self.tracker_port, self.smtp_port
        return other

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Everything is up and ready, organization ``demo`` has its admin and a sender."""
        await self.start_servers()
        await self.start_services()
        await self.api("POST", "senders", json={"sender_id": "default", "name": "Demo", "email": "coach@demo.example"})

    async def start_services(self) -> None:
        """Every service beside servers that run; returns once all are ready and the admin is signed in."""
        for service in ("enrollment", "dispatcher", "tracker", "projector", "gateway"):
            several = (
                self.copies
                if service in ("dispatcher", "projector") or (service == "enrollment" and self.event_store)
                else 1
            )
            for number in range(1, several + 1):
                await self.start_service(service, name=service if number == 1 else f"{service}-{number}")
        if self.copies > 1:
            for service in ("tracker", "gateway"):
                port = {"tracker": "TENDRIL_TRACKER_PORT", "gateway": "TENDRIL_GATEWAY_PORT"}[service]
                await self.start_service(
                    service,
                    name=f"{service}-2",
                    env={port: str(free_port()), "TENDRIL_INBOUND_SMTP_PORT": str(free_port())},
                )
        await asyncio.gather(*(self.ready(name) for name in self.services))
        await self.sign_in()

    async def start_servers(self) -> None:
        """RabbitMQ, mongod and the sink alone."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self.business_speed is not None or self.business_start is not None:
            write_anchor(self.home, speed=self.business_speed or 1.0, business=self.business_start)
        await asyncio.gather(self.rabbit.start(), self.mongo.start(), self.sink.start())

    async def stop(self) -> None:
        """Ends all of it; what a test froze is thawed first."""
        await self.http.aclose()
        if self._amqp is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._amqp.close()
        for process in self.services.values():
            if process.running:
                process.signal(signal.SIGCONT)
                process.signal(signal.SIGTERM)
        for process in self.services.values():
            await self._ended(process)
        await self.sink.stop()
        for server in (self.rabbit, self.mongo):
            with contextlib.suppress(Exception):
                await server.stop()

    async def _ended(self, process: ServiceProcess, seconds: float = 20.0) -> None:
        if process.child is None:
            return
        try:
            await asyncio.wait_for(process.child.wait(), seconds)
        except TimeoutError:
            process.signal(signal.SIGKILL)
            await process.child.wait()

    @property
    def env(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("TENDRIL_")}
        env.update(
            TENDRIL_AMQP_URL=self.rabbit.url,
            TENDRIL_MONGO_URL=self.mongo.url,
            TENDRIL_EVENT_STORE=self.event_store or f"sqlite:///{self.home / 'tendril.db'}",
            TENDRIL_HOME=str(self.home),
            TENDRIL_GATEWAY_PORT=str(self.gateway_port),
            TENDRIL_TRACKER_PORT=str(self.tracker_port),
            TENDRIL_INBOUND_SMTP_PORT=str(self.smtp_port),
            TENDRIL_INBOUND_DOMAIN="in.demo.example",
            TENDRIL_PUBLIC_URL=f"http://127.0.0.1:{self.tracker_port}",
            TENDRIL_SMTP_URL=self.sink.url,
            TENDRIL_MASTER_KEY=base64.b64encode(self.master_key).decode(),
            TENDRIL_SECRET_KEYS=self._secret_key,
            TENDRIL_ADMIN_EMAIL=ADMIN[0],
            TENDRIL_ADMIN_PASSWORD=ADMIN[1],
            TENDRIL_LOG_FORMAT="json",
            PYTHONUNBUFFERED="1",
        )
        env.update(self._extra_env)
        return env

    async def start_service(
        self,
        service: str,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
        program: str = "tendril",
    ) -> ServiceProcess:
        """Starts a process without waiting for it. A known name is started again with its own options. ``program``:
        the module that takes ``tendril``'s words."""
        name = name or service
        process = self.services.get(name)
        if process is None:
            process = ServiceProcess(
                name, service, self.home / f"{name}.log", options, dict(env or {}), telemetry_port=free_port()
            )
            self.services[name] = process
            env = None
        with process.log.open("ab") as log:
            process.child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                program,
                "run",
                service,
                *process.options,
                env={**self.env, "TENDRIL_TELEMETRY_PORT": str(process.telemetry_port), **process.env, **(env or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return process

    async def command(self, *words: str, seconds: float = 120) -> str:
        """What ``tendril`` says to these words on standard output. Raises AssertionError when it does not end well."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tendril",
            *words,
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complaint = await asyncio.wait_for(child.communicate(), seconds)
        except TimeoutError:
            child.kill()
            await child.wait()
            raise AssertionError(f"tendril {' '.join(words)} did not end in {seconds:g} s") from None
        assert child.returncode == 0, f"tendril {' '.join(words)}: {child.returncode}\n{complaint.decode()}"
        return said.decode()

    def port_of(self, process: ServiceProcess) -> int:
        """Where it answers /readyz."""
        if process.service == "gateway":
            return int(process.env.get("TENDRIL_GATEWAY_PORT", self.gateway_port))
        if process.service == "tracker":
            return int(process.env.get("TENDRIL_TRACKER_PORT", self.tracker_port))
        return process.telemetry_port

    async def ready(self, name: str, seconds: float = START_SECONDS) -> None:
        process = self.services[name]
        deadline = time.monotonic() + seconds
        while True:
            assert process.running, f"{name} ended with {process.child and process.child.returncode}:\n{process.tail()}"
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.http.get(f"http://127.0.0.1:{self.port_of(process)}/readyz")
                if answer.status_code == 200:
                    return
            assert time.monotonic() < deadline, f"{name} was not ready in {seconds} s:\n{process.tail()}"
            await asyncio.sleep(0.05)

    async def kill(self, name: str) -> None:
        """``kill -9``."""
        process = self.services[name]
        if process.running:
            process.signal(signal.SIGKILL)
        assert process.child is not None
        await process.child.wait()

    async def died(self, name: str, seconds: float = 60.0) -> int:
        """Waits until a process ends by itself (at a crash point)."""
        child = self.services[name].child
        assert child is not None
        return await asyncio.wait_for(child.wait(), seconds)

    async def restart(self, name: str, env: Mapping[str, str] | None = None, *, doomed: bool = False) -> None:
        """Starts an ended process again and waits until it is ready, or has ended where ``env`` names a crash point.
        What a ``doomed`` one claims is free a few seconds after it was killed."""
        program = "tests.system.short_leases" if doomed else "tendril"
        process = await self.start_service(self.services[name].service, name=name, env=env, program=program)
        try:
            await self.ready(name)
        except AssertionError:
            if process.running or not (env and "TENDRIL_CRASH_AT" in env):
                raise

    async def jump_to(self, moment: datetime, *services: str) -> None:
        """Business time goes on at ``moment`` for ``services``, which are ended in peace and started again."""
        names = [name for name, each in self.services.items() if each.service in services]
        for name in names:
            self.services[name].signal(signal.SIGTERM)
        for name in names:
            await self._ended(self.services[name])
        write_anchor(self.home, speed=self.business_speed or 1.0, business=moment)
        for name in names:
            await self.start_service(self.services[name].service, name=name)
        await asyncio.gather(*(self.ready(name) for name in names))

    # --- the API
    # ----------------------------------------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}/api/v1"

    async def sign_in(self) -> None:
        """As the admin, whom the views may not show yet. Few tries: an address with ten failures has to wait."""

        async def token() -> str | None:
            with contextlib.suppress(httpx.TransportError):
                answer = await self.http.post(
                    f"{self.api_url}/auth/token", data={"username": ADMIN[0], "password": ADMIN[1]}
                )
                return str(answer.json()["access_token"]) if answer.is_success else None
            return None

        patient = AsyncRetrying(
            retry=retry_if_result(lambda found: found is None),
            wait=wait_exponential(0.1),
            stop=stop_after_attempt(9),
            retry_error_callback=lambda _: None,
        )
        self._token = await patient(token)
        assert self._token, "nobody can sign in"

    async def api(
        self, method: str, path: str, *, expect: int | tuple[int, ...] = (200, 201, 202, 204), **kwargs: Any
    ) -> Any:
        """A request as the admin; its JSON. Changes carry a fresh idempotency key."""
        answer = await self.request(method, path, **kwargs)
        wanted = (expect,) if isinstance(expect, int) else expect
        assert answer.status_code in wanted, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """The same, whatever the answer. A token ends after 15 minutes: then this signs in again."""
        own = kwargs.pop("headers", {})
        headers = {"Authorization": f"Bearer {self._token}", **own}
        if method != "GET":
            headers.setdefault("Idempotency-Key", secrets.token_hex(16))
        answer = await self.http.request(method, f"{self.api_url}/{path}", headers=headers, **kwargs)
        if answer.status_code == 401 and "Authorization" not in own and answer.json()["code"] == "token_ended":
            await self.sign_in()
            headers["Authorization"] = f"Bearer {self._token}"
            answer = await self.http.request(method, f"{self.api_url}/{path}", headers=headers, **kwargs)
        return answer

    async def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self.api(
                "GET", path, params={**params, "limit": 200, **({"cursor": cursor} if cursor else {})}
            )
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    # --- the funnel
    # ------------------------------------------------------------------------------------------------------

    async def channel(self) -> aio_pika.abc.AbstractChannel:
        if self._amqp is None:
            self._amqp = await aio_pika.connect_robust(self.rabbit.url, heartbeat=10)
        return await self._amqp.channel(publisher_confirms=True)

    async def publish_leads(
        self, bodies: list[dict[str, Any]], *, routing_key: str = "lead.created", message_ids: list[str] | None = None
    ) -> None:
        """As a bare AMQP client: plain JSON with a message id, confirmed by the broker."""
        channel = await self.channel()
        try:
            exchange = await channel.get_exchange("tendril.leads", ensure=False)
            ids = message_ids or [secrets.token_hex(8) for _ in bodies]
            await asyncio.gather(
                *(
                    exchange.publish(
                        aio_pika.Message(
                            orjson.dumps(body),
                            content_type="application/json",
                            message_id=message_id,
                            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                        ),
                        routing_key,
                    )
                    for body, message_id in zip(bodies, ids, strict=True)
                )
            )
        finally:
            await channel.close()


@contextlib.asynccontextmanager
async def running_stack(home: Path, **options: Any) -> AsyncIterator[Stack]:
    """A started stack; ended whatever happens. On failure the services' last lines are printed."""
    stack = Stack(home, **options)
    try:
        await stack.start()
        yield stack
    except BaseException:
        for process in stack.services.values():
            if process.log.exists():
                print(f"--- {process.name} ---\n{process.tail()}")  # noqa: T201
        raise
    finally:
        await stack.stop()
        for server in ("mongod", "rabbitmq"):  # some hundred MB
            shutil.rmtree(home / server, ignore_errors=True)


def lead(number: int, **fields: Any) -> dict[str, Any]:
    """A funnel's message for lead ``number``."""
    body: dict[str, Any] = {
        "organization_id": ORGANIZATION,
        "funnel_id": "test-funnel",
        "lead": {"email": f"lead{number}@example.com", "first_name": f"Ada{number}", "last_name": "Byron"},
    }
    body["lead"].update(fields)
    return body
