"""A gateway on real RabbitMQ and MongoDB, views filled by hand, and a scripted write side that answers its orders."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.gateway.wiring import GatewayService, build
from shared.clock import SystemClock
from shared.events import Envelope
from shared.events.organization import Role
from shared.events.query import Answer
from shared.messaging.consumers import Consumers, Delivery, Subscription
from shared.messaging.publisher import Publisher
from shared.persistence.mongo import Database
from shared.settings import load_settings
from tendril.embedded.ports import free_port
from tests.support.waiting import eventually

ADMIN = UUID("aaaaaaaa-0000-4000-8000-000000000001")
VIEWER = UUID("aaaaaaaa-0000-4000-8000-000000000002")
OTHER = UUID("bbbbbbbb-0000-4000-8000-000000000001")
LEAD = UUID("11111111-0000-4000-8000-000000000001")
SEQUENCE = UUID("22222222-0000-4000-8000-000000000001")
ENROLLMENT = UUID("33333333-0000-4000-8000-000000000001")
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PASSWORD = "correct horse"
KEYS = {"demo": "tendril_demo_key", "other": "tendril_other_key"}
QUEUES = ("enrollment.commands", "enrollment.bulk", "enrollment.leads", "enrollment.queries", "dispatcher.email")
ROLES: tuple[Role, ...] = ("viewer", "operator", "coach", "admin")


@dataclass
class WriteSide:
    """Answers every order the same way, and remembers what it got."""

    seen: list[Envelope] = field(default_factory=list)
    answer: Callable[[Envelope], Answer | None] = lambda _: Answer(ok=True, result={"done": True}, position="03-17")

    async def handle(self, delivery: Delivery) -> None:
        """Replies unless the script says None."""
        for envelope in delivery.envelopes:
            self.seen.append(envelope)
            answer = self.answer(envelope)
            if answer is not None:
                await delivery.reply(answer)


@dataclass
class Gateway:
    """A running one, with a client and its databases."""

    service: GatewayService
    http: httpx.AsyncClient
    views: Database
    own: Database
    write_side: WriteSide
    port: int

    async def put(self, view: str, *documents: dict[str, Any]) -> None:
        """Documents of a view, of organization demo unless they say otherwise."""
        ready = [{"organization_id": "demo", "partition": 3, "position": 10, **each} for each in documents]
        await self.views.collection(f"{view}.g1").insert_many(ready)

    async def token(self, email: str = "ada@example.com") -> str:
        """Signs in."""
        answer = await self.http.post("/api/v1/auth/token", data={"username": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def key(self, organization: str = "demo") -> dict[str, str]:
        """Headers of an API key with every right."""
        return {"X-API-Key": KEYS[organization]}

    def key_of(self, role: Role) -> dict[str, str]:
        """Headers of organization demo's API key with this role."""
        return {"X-API-Key": f"{KEYS['demo']}_{role}"}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def write_side(amqp_url: str, stack: AsyncExitStack) -> WriteSide:
    made = WriteSide()
    publisher = Publisher(amqp_url, name="write side")
    await publisher.start()
    stack.push_async_callback(publisher.close)
    consumers = Consumers(
        amqp_url,
        name="write side",
        publisher=publisher,
        queues=[Subscription(queue, 20, made.handle) for queue in QUEUES],
    )
    await consumers.start()
    stack.push_async_callback(consumers.close)
    return made


@pytest.fixture
async def gateway(
    amqp_url: str, mongo_url: str, tmp_path: Path, write_side: WriteSide, stack: AsyncExitStack
) -> Gateway:
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "docs").mkdir()
    (tmp_path / "dist" / "docs" / "index.html").write_text("<!doctype html><title>API</title>")
    (tmp_path / "dist" / "index.html").write_text("<!doctype html><title>Tendril</title>")
    (tmp_path / "dist" / "assets" / "index-abc123.js").write_text("void 0")
    port = free_port()
    settings = load_settings(
        {},
        amqp_url=amqp_url,
        mongo_url=mongo_url,
        home=tmp_path,
        gateway_port=port,
        secret_keys="first-secret-key-0123456789,older-secret-key-0123456789",
    )
    service = await build(settings, SystemClock(), dist=tmp_path / "dist")
    views = service.mongo.database(f"{settings.database_prefix}_views")
    made = Gateway(
        service,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60),
        views,
        service.parts.database,
        write_side,
        port,
    )
    stack.push_async_callback(made.http.aclose)
    hashed = await service.parts.sign_in.hash_password(PASSWORD)
    for organization, members in {
        "demo": {ADMIN: ("ada@example.com", "admin"), VIEWER: ("vera@example.com", "viewer")},
        "other": {OTHER: ("olga@example.com", "admin")},
    }.items():
        secret_hash = hashlib.sha256(KEYS[organization].encode()).hexdigest()
        await made.put("organizations", organization_document(organization, members, hashed, secret_hash))
    await service.start()
    stack.push_async_callback(service.close)
    await eventually(lambda: all(service.readiness().values()))
    return made


def organization_document(
    organization: str, members: dict[UUID, tuple[str, str]], hashed: str, secret_hash: str
) -> dict[str, Any]:
    """As the projector writes it, with a key of every role."""
    keys = {UUID(int=7): ("admin", secret_hash)}
    for number, role in enumerate(ROLES, 70):
        hashed_key = hashlib.sha256(f"{KEYS[organization]}_{role}".encode()).hexdigest()
        keys[UUID(int=number)] = (role, hashed_key)
    return {
        "_id": organization,
        "organization_id": organization,
        "name": organization.title(),
        "timezone": "UTC",
        "members": {
            str(member_id): {"email": email, "name": email, "role": role, "active": True, "password_hash": hashed}
            for member_id, (email, role) in members.items()
        },
        "member_emails": [email for email, _ in members.values()],
        "api_keys": {
            str(key_id): {"name": role, "role": role, "scopes": [], "secret_hash": key_hash, "revoked": False}
            for key_id, (role, key_hash) in keys.items()
        },
        "key_hashes": [key_hash for _, key_hash in keys.values()],
        "senders": {},
        "suppressions": {},
    }


def lead_document(number: int, **more: Any) -> dict[str, Any]:
    """A lead as the projector writes it."""
    lead_id = str(UUID(int=LEAD.int + number))
    return {
        "_id": lead_id,
        "lead_id": lead_id,
        "name": f"Lead {number}",
        "email": f"lead{number}@example.com",
        "score": number % 3,
        "captured_at": NOW,
        "search": ["lead", f"lead{number}@example.com"],
        "tokens": {},
        "custom_fields": {},
        "erased": False,
        **more,
    }


def enrollment_document(**more: Any) -> dict[str, Any]:
    """An enrollment as the projector writes it."""
    return {
        "_id": str(ENROLLMENT),
        "lead_id": str(LEAD),
        "sequence_id": str(SEQUENCE),
        "version": 1,
        "status": "active",
        "counts": {"sent": 1},
        "started_at": NOW,
        "steps": {
            "2": {"step_id": "b", "status": "due"},
            "10": {"step_id": "c"},
            "1": {"step_id": "a", "status": "sent"},
        },
        **more,
    }
