"""The tracker beside a bare route, in the same run: pixel and click, the signal confirmed by the broker before the
answer.

The bare one is a Starlette route on the same uvicorn and event loop that publishes one confirmed, persistent message
per request to a quorum queue, and reads no token. Each side gets the same number of requests over kept connections from
one load generator on raw sockets; the rounds take turns, and medians are compared. Client and servers share the cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import aio_pika
import httpx
import orjson
import psutil
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.tokens import LinkClaims, LinkKind, Tokens
from tendril.embedded.ports import free_port
from tendril.embedded.rabbitmq import RabbitServer

REQUESTS = int(os.environ.get("TENDRIL_BENCH_TRACKER_REQUESTS", "6000"))
CONNECTIONS = 64
ROUNDS = 3
SECRET = "a secret of the benchmark"
HEADERS = (
    b"Host: t.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0\r\n"
    b"Accept: image/avif,image/webp,*/*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n\r\n"
)
BARE_QUEUE = "bench.bare"


# --- the bare side --------------------------------------------------------------------------------------------------


def bare_app(amqp_url: str) -> Starlette:
    """One route, one confirmed message per request."""
    state: dict[str, Any] = {}

    async def exchange() -> aio_pika.abc.AbstractExchange:
        if "exchange" not in state:
            async with state.setdefault("lock", asyncio.Lock()):
                if "exchange" not in state:
                    state["connection"] = await aio_pika.connect_robust(amqp_url)
                    channel = await state["connection"].channel(publisher_confirms=True)
                    await channel.declare_queue(BARE_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
                    state["exchange"] = channel.default_exchange
        found: aio_pika.abc.AbstractExchange = state["exchange"]
        return found

    async def hit(request: Request) -> Response:
        body = orjson.dumps(
            {"token": request.path_params["token"], "at": time.time(), "agent": request.headers["user-agent"]}
        )
        message = aio_pika.Message(
            body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=os.urandom(16).hex()
        )
        await (await exchange()).publish(message, BARE_QUEUE)
        return Response(b"GIF89a" + b"\0" * 37, media_type="image/gif", headers={"cache-control": "no-store"})

    return Starlette(routes=[Route("/t/o/{token}", hit), Route("/t/c/{token}", hit)])


def serve_bare(amqp_url: str, port: int) -> None:
    """Runs until it is ended."""
    uvicorn.run(
        bare_app(amqp_url),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
    )


# --- the load -------------------------------------------------------------------------------------------------------


def requests(path: str, kind: LinkKind, count: int, start: int) -> Iterator[bytes]:
    """Requests with a token each, as the messages of so many dispatches would carry."""
    tokens = Tokens([SECRET])
    for number in range(start, start + count):
        token = tokens.link_token(
            LinkClaims(
                organization_id="demo",
                lead_id=UUID(int=number),
                enrollment_id=UUID(int=number << 32),
                execution=1 + number % 7,
                channel="email",
                kind=kind,
                target="https://example.com/pricing?plan=team" if kind == "click" else None,
            )
        )
        yield b"GET " + path.replace("TOKEN", token).encode() + b" HTTP/1.1\r\n" + HEADERS


class Lane(asyncio.Protocol):
    """One kept connection that sends a request when the answer before it is whole. Answers of one side are equally
    long, so after the first only bytes are counted: the generator must cost less than what it measures."""

    def __init__(self, wire: Sequence[bytes], expected: bytes, waits: list[float]) -> None:
        self._wire = iter(wire)
        self._expected = expected
        self._waits = waits
        self._length = 0
        self._got = b""
        self._begun = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def begin(self) -> None:
        """Sends the next request, or ends."""
        request = next(self._wire, None)
        if request is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._begun = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._length:
            head, end, _ = self._got.partition(b"\r\n\r\n")
            if not end:
                return
            self._length = len(head) + 4 + int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self._got) < self._length:
            return
        if len(self._got) > self._length or not self._got.startswith(self._expected):
            self.done.set_exception(SystemExit(f"unexpected answer: {self._got[:200]!r}"))
            return
        self._got = b""
        self._waits.append(time.perf_counter() - self._begun)
        self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit(f"the connection was lost: {exc!r}"))


async def load(port: int, wire: Sequence[bytes], expected: bytes) -> tuple[float, list[float]]:
    """Requests a second, and the seconds each took. Raises SystemExit on any other answer."""
    waits: list[float] = []
    loop = asyncio.get_running_loop()
    lanes = []
    for number in range(CONNECTIONS):
        lane = Lane(wire[number::CONNECTIONS], expected, waits)
        await loop.create_connection(lambda lane=lane: lane, "127.0.0.1", port)
        lanes.append(lane)
    begun = time.perf_counter()
    for lane in lanes:
        lane.begin()
    await asyncio.gather(*(lane.done for lane in lanes))
    return len(wire) / (time.perf_counter() - begun), waits


# --- the run --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def child(arguments: Sequence[str], env: dict[str, str], port: int) -> Any:
    """A server of its own, ready for requests; ended at the end."""
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env={**os.environ, **env})
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                if process.returncode is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{arguments} did not start") from None
                await asyncio.sleep(0.05)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def connected(port: int) -> None:
    """Until the tracker has its broker."""
    async with httpx.AsyncClient() as http:
        while "tendril_tracker_broker_up 1.0" not in (await http.get(f"http://127.0.0.1:{port}/metrics")).text:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def stored(amqp_url: str, queue: str) -> int:
    """Messages in a queue."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def run() -> dict[str, Any]:
    """The figures, by the names of the benchmark's JSON."""
    with tempfile.TemporaryDirectory(prefix="tendril-bench-") as folder:
        rabbit = RabbitServer(Path(folder) / "rabbitmq")
        await rabbit.start()
        try:
            return await compare(rabbit.url, Path(folder))
        finally:
            await rabbit.stop()


async def compare(amqp_url: str, home: Path) -> dict[str, Any]:
    """Both sides in turns."""
    bare_port, port = free_port(), free_port()
    env = {
        "TENDRIL_HOME": str(home / "tracker"),
        "TENDRIL_AMQP_URL": amqp_url,
        "TENDRIL_SECRET_KEYS": SECRET,
        "TENDRIL_TRACKER_PORT": str(port),
        "TENDRIL_INBOUND_SMTP_PORT": str(free_port()),
        "TENDRIL_LOG_FORMAT": "json",
    }
    rates: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    sides = {
        "open": ("/t/o/TOKEN.gif", "open", b"HTTP/1.1 200", b"HTTP/1.1 200"),
        "click": ("/t/c/TOKEN", "click", b"HTTP/1.1 302", b"HTTP/1.1 200"),
    }
    program = [str(Path(__file__)), "--bare", amqp_url, str(bare_port)]
    cpu: dict[str, float] = {}
    async with (
        child(program, {}, bare_port) as bare_pid,
        child(["-m", "tendril", "run", "tracker"], env, port) as tracker_pid,
    ):
        await connected(port)
        start = 1
        for round_number in range(ROUNDS + 1):  # the first one warms up
            for name, (path, kind, expected, bare_expected) in sides.items():
                count = REQUESTS if round_number else REQUESTS // 4
                wire = list(requests(path, kind, count, start))  # type: ignore[arg-type]  # the table holds texts
                start += count
                for side, pid, at, answer in (
                    ("bare", bare_pid, bare_port, bare_expected),
                    ("tracker", tracker_pid, port, expected),
                ):
                    before = cpu_seconds(pid)
                    rate, seconds = await load(at, wire, answer)
                    if round_number:
                        cpu[f"{side}.{name}"] = cpu.get(f"{side}.{name}", 0.0) + cpu_seconds(pid) - before
                        rates.setdefault(f"{side}.{name}", []).append(rate)
                        waits.setdefault(f"{side}.{name}", []).extend(seconds)
        signals = await stored(amqp_url, "enrollment.signals")
        bare = await stored(amqp_url, BARE_QUEUE)
    if list((home / "tracker" / "spool").glob("*/*.spool")):
        raise SystemExit("the tracker used its spool: the broker was too slow for this comparison")
    if bare != start - 1 or not signals:
        raise SystemExit(
            f"{bare} of {start - 1} messages arrived from the bare route, {signals} frames from the tracker"
        )
    middle = {name: statistics.median(values) for name, values in rates.items()}
    result: dict[str, Any] = {
        "tracker": {"requests_per_frame": round((start - 1) / signals, 1)},
        "floor": {},
        "ratio": {},
    }
    for name in sides:
        each = 1000 / (ROUNDS * REQUESTS)
        result["tracker"][f"{name}_cpu_ms"] = round(cpu[f"tracker.{name}"] * each, 3)
        result["floor"][f"bare_{name}_cpu_ms"] = round(cpu[f"bare.{name}"] * each, 3)
        result["tracker"][f"{name}s_per_second"] = round(middle[f"tracker.{name}"])
        result["tracker"][f"{name}_ms_p50"] = round(1000 * statistics.median(waits[f"tracker.{name}"]), 2)
        result["tracker"][f"{name}_ms_p99"] = round(1000 * statistics.quantiles(waits[f"tracker.{name}"], n=100)[98], 2)
        result["floor"][f"bare_{name}s_per_second"] = round(middle[f"bare.{name}"])
        result["ratio"][f"tracker_{name}"] = round(middle[f"tracker.{name}"] / middle[f"bare.{name}"], 2)
    return result


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bare", nargs=2, metavar=("AMQP_URL", "PORT"), help="only serve the bare route")
    arguments = parser.parse_args()
    if arguments.bare:
        serve_bare(arguments.bare[0], int(arguments.bare[1]))
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(orjson.dumps(runner.run(run()), option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    main()
