"""Logs, figures and traces, and the small server that shows the first signs of life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, Literal, TypeVar

import orjson
import structlog
from opentelemetry import propagate, trace
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest

PREFIX = "tendril_"
MASK = "***"
REQUEST_SECONDS = 5.0  #: a client that has not sent its request by then is let go
PORTS_TRIED = 100

# Names that hold secrets or a person's data. They are masked wherever they turn up in a log entry.
_SECRET_NAMES = re.compile(r"(?i)(password|passwd|secret|token|api_?key|master_?key|authorization|cookie|credential)")
_PERSONAL_NAMES = frozenset(
    {"address", "body", "custom_fields", "email", "first_name", "html", "last_name", "name_of_lead", "phone"}
    | {"recipient", "reply", "subject", "text"}
)
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*@")
_metrics: dict[str, Counter | Gauge | Histogram] = {}
_metrics_lock = threading.Lock()
_tracing = False
M = TypeVar("M", Counter, Gauge, Histogram)


def configure_logging(log_format: Literal["console", "json"], service: str) -> None:
    """Send all logs to standard error, ours and those of libraries, with secrets and personal data masked."""
    chain: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if log_format == "json" else _unchanged,
        mask,
    ]
    if log_format == "json":
        renderer: Any = structlog.processors.JSONRenderer(
            serializer=lambda entry, **_: orjson.dumps(entry, str).decode()
        )
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("aio_pika", "aiormq", "httpx", "httpcore", "pymongo", "mail.log"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *chain,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def mask(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blot out secrets and personal data: by the name of a field at any depth, and passwords inside addresses."""
    for name in entry:
        entry[name] = _masked(name, entry[name])
    return entry


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """The counter `tendril_<name>`; the same one at every call."""
    return _made(name, lambda full: Counter(full, documentation, labels), Counter)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """The gauge `tendril_<name>`; the same one at every call."""
    return _made(name, lambda full: Gauge(full, documentation, labels), Gauge)


def histogram(
    name: str, documentation: str, labels: Sequence[str] = (), *, buckets: Sequence[float] | None = None
) -> Histogram:
    """The histogram `tendril_<name>`; the same one at every call. `buckets` None = the library's own."""
    return _made(
        name,
        lambda full: Histogram(full, documentation, labels, buckets=buckets or Histogram.DEFAULT_BUCKETS),
        Histogram,
    )


def configure_tracing(service: str, endpoint: str | None) -> None:
    """Send traces to an OTLP collector; without an endpoint nothing is set up and spans cost next to nothing."""
    global _tracing  # noqa: PLW0603  # a process traces or does not
    if endpoint is None:
        return
    # Imported here: the exporter takes memory and time to load, and most run without it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": f"tendril-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
    trace.set_tracer_provider(provider)
    _tracing = True


def current_traceparent() -> str | None:
    """The W3C `traceparent` of the span we are in, for a message; None when nothing is traced."""
    if not _tracing:
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


@contextlib.contextmanager
def span(name: str, traceparent: str | None = None) -> Iterator[None]:
    """A span; under the one that a message's `traceparent` names, when it is given."""
    if not _tracing:
        yield
        return
    context = propagate.extract({"traceparent": traceparent}) if traceparent else None
    with trace.get_tracer("tendril").start_as_current_span(name, context=context):
        yield


class TelemetryServer:
    """`/healthz`, `/readyz` and `/metrics` on loopback.

    Made on asyncio's streams: three fixed pages need no web framework, and services without one stay small.
    """

    def __init__(self, port: int, readiness: Callable[[], dict[str, bool]]) -> None:
        """`port`: the first one to try. `readiness`: each thing the service depends on, and whether it is there."""
        self.port = port
        self._readiness = readiness
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen on the next free port; which one. Raises OSError when a hundred in a row are taken."""
        for port in range(self.port, min(self.port + PORTS_TRIED, 65536)):
            try:
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, reuse_address=True)
            except OSError:
                continue
            self.port = self._server.sockets[0].getsockname()[1]
            return self.port
        raise OSError(f"no free port for telemetry from {self.port} on")

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_SECONDS)
            method, _, rest = head.decode("latin-1").partition(" ")
            status, content_type, body = telemetry_page(rest.partition(" ")[0].partition("?")[0], self._readiness)
            if method not in {"GET", "HEAD"}:
                status, content_type, body = "405 Method Not Allowed", "text/plain", b""
            headers = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            writer.write((headers + "Connection: close\r\n\r\n").encode() + (body if method == "GET" else b""))
            await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has left, or never asked properly
        finally:
            writer.close()


def telemetry_page(path: str, readiness: Callable[[], dict[str, bool]]) -> tuple[str, str, bytes]:
    """Status line, content type and body of a telemetry page; also for services with a web server of their own."""
    match path:
        case "/healthz":
            return "200 OK", "application/json", b'{"status":"ok"}'
        case "/readyz":
            checks = readiness()
            ready = all(checks.values())
            body = orjson.dumps({"status": "ready" if ready else "not ready", "checks": checks})
            return ("200 OK" if ready else "503 Service Unavailable"), "application/json", body
        case "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
    return "404 Not Found", "application/json", b'{"status":"not found"}'


def _made(name: str, make: Callable[[str], M], kind: type[M]) -> M:
    with _metrics_lock:
        full = PREFIX + name
        metric = _metrics.get(full)
        if metric is None:
            metric = _metrics[full] = make(full)
        if not isinstance(metric, kind):
            raise TypeError(f"{full} is a {type(metric).__name__}, asked for as a {kind.__name__}")
        return metric


def _masked(name: object, value: Any) -> Any:
    text = str(name)
    if value is not None and (text in _PERSONAL_NAMES or _SECRET_NAMES.search(text)):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", item) for item in value]
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}@", value) if isinstance(value, str) else value


def _unchanged(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return entry
