"""Starts the servers and the services, looks after them, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import psutil

from shared.clock import CLOCK_FILE, Clock, load_clock, touch_anchor, write_anchor
from shared.ending import ended
from tendril.embedded.mongod import MongoServer
from tendril.embedded.rabbitmq import RabbitServer
from tendril.place import Place, remove_place, write_place
from tendril.running import SERVICES
from tendril.up import warden
from tendril.up.child import Child, Spec
from tendril.up.console import Lines
from tendril.up.home_lock import alone, short
from tendril.up.newborn import Nursery
from tendril.up.plan import Plan, check_ports, telemetry_ports
from tendril.up.probes import always, is_ready, listens

TICK_SECONDS = 1.0
DATABASE = "tendril"


class Supervisor:
    """One `up`. ``run`` returns after a clean end and raises what kept it from starting or going on."""

    def __init__(self, plan: Plan, lines: Lines) -> None:
        self._plan = plan
        self._lines = lines
        self._home = plan.home
        self._rabbit = None if plan.settings.amqp_url else RabbitServer(plan.home / "rabbitmq")
        self._mongo = None if plan.settings.mongo_url else MongoServer(plan.home / "mongod")
        self._children: list[Child] = []
        self._telemetry: dict[str, int] = {}
        self._stop = asyncio.Event()
        self._warden: asyncio.subprocess.Process | None = None
        self._clock: Clock | None = None

    async def run(self) -> None:
        """Until SIGINT, SIGTERM or SIGHUP, or a service that cannot be kept up."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        with alone(self._home) as lock:
            check_ports(self._plan)
            self._telemetry = telemetry_ports(self._plan)
            ticking: asyncio.Task[None] | None = None
            try:
                await self._start_warden(lock)
                self._set_clock()
                ticking = asyncio.create_task(self._tick())
                if await self._until_stop(self._start()):
                    self._announce(time.time() - psutil.Process().create_time())
                    await self._until_stop(self._watch())
            finally:
                await self._end()
                await ended(ticking)
                await self._dismiss_warden()

    async def _until_stop(self, work: object) -> bool:
        """True when the work was done before the word to stop; what the work raises is raised."""
        assert asyncio.iscoroutine(work)
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                return True
            return False
        finally:
            await ended(working, stopping)

    # --- start --------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        plan = self._plan
        logs = self._home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._lines.say(f"Starting Tendril in {short(self._home)}", "bold")
        # RabbitMQ takes longest; meanwhile the services load, and then wait for it by themselves.
        nursery = Nursery()
        await nursery.start({**plan.environ, **_mark()}, len(SERVICES) + 1)
        starting_rabbit = asyncio.create_task(self._rabbit.start()) if self._rabbit else None
        try:
            if self._mongo is not None:
                await self._mongo.start()
            amqp_url = plan.settings.amqp_url or await self._rabbit_url(starting_rabbit)
            mongo_url = plan.settings.mongo_url or _with_database(self._mongo)
            environ = {**plan.environ, "TENDRIL_AMQP_URL": amqp_url, "TENDRIL_MONGO_URL": mongo_url}
            environ.update(_mark())
            specs = list(self._specs(environ))
            for spec, newborn in zip(specs, await nursery.bear(specs), strict=True):
                child = Child(spec, logs, self._lines)
                child.start(newborn)
                self._children.append(child)
            if starting_rabbit is not None:
                await starting_rabbit
            async with asyncio.TaskGroup() as group:
                for child in self._children:
                    group.create_task(child.wait_ready())
        finally:
            await nursery.stop()
            await ended(starting_rabbit)
        write_place(self._home, self._place(amqp_url, mongo_url))
        if plan.demo:
            demo = Child(_spec("demo", "tendril.demo", (), environ, always), logs, self._lines)
            demo.start()
            self._children.append(demo)

    async def _rabbit_url(self, starting: asyncio.Task[None] | None) -> str:
        """Known as soon as the port is chosen, which is before the node serves."""
        assert self._rabbit is not None
        assert starting is not None
        while not self._rabbit.port_known:
            if starting.done():
                starting.result()
            await asyncio.sleep(0)
        return self._rabbit.url

    def _specs(self, environ: dict[str, str]) -> Iterator[Spec]:
        settings = self._plan.settings
        if (port := self._plan.mailbox_port) is not None:
            yield _spec("mailbox", "tendril.mailbox", (), environ, partial(listens, port))
        own_port = {"gateway": settings.gateway_port, "tracker": settings.tracker_port}
        for service in SERVICES:
            telemetry = self._telemetry[service]
            env = {**environ, "TENDRIL_TELEMETRY_PORT": str(telemetry)}
            ready = partial(is_ready, own_port.get(service, telemetry))
            yield _spec(service, "tendril", ("run", service), env, ready)

    def _place(self, amqp_url: str, mongo_url: str) -> Place:
        settings = self._plan.settings
        return Place(
            pid=os.getpid(),
            amqp_url=amqp_url,
            mongo_url=mongo_url,
            event_store=settings.event_store or f"sqlite:///{self._home / 'tendril.db'}",
            gateway_url=self._plan.gateway_url,
            tracker_url=self._plan.tracker_url,
            partitions=settings.partitions,
            telemetry=self._telemetry,
            mailbox_url=self._plan.settings.smtp_address if self._plan.own_mailbox else None,
        )

    def _set_clock(self) -> None:
        """Business time goes on where it stood; a home that never was scaled keeps the wall's."""
        if self._plan.speed is not None:
            write_anchor(self._home, speed=self._plan.speed)
        elif (self._home / CLOCK_FILE).exists():
            write_anchor(self._home, speed=1.0)
        self._clock = load_clock(self._home)

    def _announce(self, seconds: float) -> None:
        self._lines.starting = False
        plan, say = self._plan, self._lines.say
        say("")
        say(f"Tendril is up ({seconds:.1f} s). Ctrl-C ends it.", "bold green")
        say(f"  Dashboard  {plan.gateway_url}", "bold")
        if plan.settings.admin_email:
            given = plan.settings.admin_password
            own = given is not None and given.get_secret_value() == plan.secrets.admin_password
            password = plan.secrets.admin_password if own else "(as set in TENDRIL_ADMIN_PASSWORD)"
            say(f"  Sign in    {plan.settings.admin_email}  {password}", "bold")
        else:
            say("  Sign in    make a member first: tendril member add --organization NAME --email YOU --role admin")
        if self._clock is not None and self._clock.speed != 1.0:
            day = 86_400 / self._clock.speed
            say(f"  Time       {self._clock.now():%Y-%m-%d %H:%M} UTC; a business day passes in {_spoken(day)}")
        say(f"  Logs       {short(self._home / 'logs')}")
        say("")

    # --- while it runs ------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Returns, by raising, only when a child or a server is lost for good."""
        async with asyncio.TaskGroup() as group:
            for child in self._children:
                group.create_task(child.failed())
            for server in (self._rabbit, self._mongo):
                if server is not None:
                    group.create_task(self._keep_server(server))

    async def _keep_server(self, server: RabbitServer | MongoServer) -> None:
        while True:
            await server.wait_ended()
            if self._stop.is_set():
                return
            name = "RabbitMQ" if server is self._rabbit else "mongod"
            self._lines.say(f"{name} ended unasked; it is started again with the same data", "yellow")
            await server.start()

    async def _tick(self) -> None:
        """Keeps business time on disk."""
        while True:
            if self._clock is not None:
                await asyncio.to_thread(touch_anchor, self._home, self._clock)
            await asyncio.sleep(TICK_SECONDS)

    # --- end ----------------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """First who makes work, then who does it, then the servers below."""
        self._stop.set()
        began = time.monotonic()
        self._lines.say("Ending …", "bold")
        for wave in (("demo",), SERVICES, ("mailbox",)):
            await asyncio.gather(*(child.stop() for child in self._children if child.name in wave))
        servers = [server for server in (self._rabbit, self._mongo) if server is not None]
        await asyncio.gather(*(server.stop() for server in servers), return_exceptions=True)
        if self._clock is not None:
            touch_anchor(self._home, self._clock)
        remove_place(self._home)
        self._lines.say(f"Ended ({time.monotonic() - began:.1f} s).", "bold")

    # --- the warden ---------------------------------------------------------------------------------------------------

    async def _start_warden(self, lock: int) -> None:
        """It inherits the lock: the home stays taken until what a killed `up` left behind is gone."""
        os.environ[warden.VARIABLE] = mark = secrets.token_hex(8)  # the servers take this process's environment
        self._warden = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(Path(warden.__file__)),
            mark,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock,),
        )

    async def _dismiss_warden(self) -> None:
        if self._warden is None or self._warden.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._warden.stdin.write(b"done\n")
            await self._warden.stdin.drain()
            self._warden.stdin.close()
        await self._warden.wait()


def _spec(
    name: str, module: str, arguments: tuple[str, ...], env: dict[str, str], ready: Callable[[], Awaitable[bool]]
) -> Spec:
    return Spec(name=name, module=module, arguments=arguments, env=env, ready=ready)


def _mark() -> dict[str, str]:
    """What the warden finds them by."""
    return {warden.VARIABLE: os.environ[warden.VARIABLE]}


def _with_database(mongo: MongoServer | None) -> str:
    assert mongo is not None
    return mongo.url.replace("/?", f"/{DATABASE}?")


def _spoken(seconds: float) -> str:
    """A length of time, in the unit a person would say it in."""
    unit, name = (1.0, "seconds") if seconds < 120 else (60.0, "minutes") if seconds < 7200 else (3600.0, "hours")
    return f"{float(f'{seconds / unit:.3g}'):,g} {name}"
