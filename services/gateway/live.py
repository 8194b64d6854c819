"""Socket.IO: rooms within an organization, ``lag`` and ``resync``. What is pushed comes from the projector over
RabbitMQ.

A push is a hint: every client fetches what it shows again when ``lag`` tells it is behind, or after ``resync``.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import socketio
import structlog
from socketio.exceptions import ConnectionRefusedError as Refused

from services.gateway.access import Principal, Room, Scope, room_for
from services.gateway.directory import Directory
from services.gateway.errors import Forbidden, NotSignedIn
from services.gateway.signin import SignIn
from shared.clock import Clock
from shared.ending import ended
from shared.ids import partition_of
from shared.messaging.connection import close_quietly
from shared.messaging.push import NAMESPACE, PushServer, activity_room
from shared.persistence.mongo import is_unavailable
from shared.persistence.views import VIEW_NAMES, ViewReader
from shared.telemetry import gauge

LAG_SECONDS = 5.0
#: Rooms of one client.
MAX_ROOMS = 100

_log = structlog.get_logger(__name__)
_clients = gauge("live_clients", "Connected browsers")


@dataclass(slots=True)
class Client:
    """A connected browser. ``expires_at`` None: an API key, which does not end by itself."""

    principal: Principal
    expires_at: datetime | None
    rooms: dict[str, Room] = field(default_factory=dict)


class Live:
    """The Socket.IO server of this gateway."""

    def __init__(
        self, url: str, sign_in: SignIn, directory: Directory, views: ViewReader, clock: Clock, partitions: int
    ) -> None:
        self._sign_in = sign_in
        self._directory = directory
        self._views = views
        self._clock = clock
        self._partitions = partitions
        self._clients: dict[str, Client] = {}
        self._manager = PushServer(url, missed=self._missed)
        self.server = socketio.AsyncServer(
            async_mode="asgi",
            client_manager=self._manager,
            namespaces=[NAMESPACE],
            transports=["websocket"],
            cors_allowed_origins=None,  # the web app's own origin only
            max_http_buffer_size=64 * 1024,
            logger=False,
            engineio_logger=False,
        )
        self.server.on("connect", self._connect, namespace=NAMESPACE)
        self.server.on("disconnect", self._disconnect, namespace=NAMESPACE)
        self.server.on("subscribe", self._subscribe, namespace=NAMESPACE)
        self.server.on("unsubscribe", self._unsubscribe, namespace=NAMESPACE)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begins to tell the lag and to look after rights."""
        self._spawn(self._pulse())

    async def close(self) -> None:
        """Lets every client go; they come back to another gateway, or to the next start of this one."""
        await ended(*self._tasks)
        for sid in tuple(self._clients):
            with suppress(Exception):
                await asyncio.wait_for(self.server.disconnect(sid, namespace=NAMESPACE, ignore_queue=True), 1)
        thread = getattr(self._manager, "thread", None)
        if isinstance(thread, asyncio.Task):
            await ended(thread)
        await close_quietly(self._manager.publisher_connection)

    async def _connect(self, sid: str, _environ: dict[str, Any], auth: Any) -> None:
        token = auth.get("token") if isinstance(auth, dict) else None
        api_key = auth.get("api_key") if isinstance(auth, dict) else None
        principal: Principal | None = None
        expires_at: datetime | None = None
        try:
            if isinstance(token, str):
                access = self._sign_in.read(token)
                expires_at = access.expires_at
                principal = await self._directory.member(access.organization_id, access.member_id, access.epoch)
            elif isinstance(api_key, str):
                principal = await self._directory.api_key(api_key)
        except NotSignedIn as error:
            raise Refused(error.code) from None
        except Exception as error:
            if not is_unavailable(error):
                raise
            raise Refused("database_away") from None
        if principal is None:
            raise Refused("not_signed_in")
        self._clients[sid] = Client(principal, expires_at)
        _clients.set(len(self._clients))

    async def _disconnect(self, sid: str, *_: Any) -> None:
        self._clients.pop(sid, None)
        _clients.set(len(self._clients))

    async def _subscribe(self, sid: str, data: Any) -> dict[str, Any]:
        client = self._clients.get(sid)
        if client is None:
            return {"ok": False, "code": "not_signed_in"}
        room = room_for(client.principal.organization_id, data.get("room") if isinstance(data, dict) else None)
        if room is None:
            return {"ok": False, "code": "unknown_room"}
        if len(client.rooms) >= MAX_ROOMS and room.name not in client.rooms:
            return {"ok": False, "code": "too_many_rooms"}
        try:
            client.principal.require(room.permission)
        except Forbidden:
            return {"ok": False, "code": "forbidden"}
        # Joined before the cursor is read: a change between the two is told rather than missed.
        for name in _heard(client.principal, room):
            await self.server.enter_room(sid, name, namespace=NAMESPACE)
        client.rooms[room.name] = room
        try:
            return {"ok": True, "cursor": await self._cursor(client.principal, room)}
        except Exception as error:
            if not is_unavailable(error):
                raise
            return {"ok": False, "code": "database_away"}

    async def _unsubscribe(self, sid: str, data: Any) -> dict[str, Any]:
        client = self._clients.get(sid)
        asked = data.get("room") if isinstance(data, dict) else None
        room = room_for(client.principal.organization_id, asked) if client else None
        if client is None or room is None:
            return {"ok": False, "code": "unknown_room"}
        client.rooms.pop(room.name, None)
        await self._leave(sid, client.principal, room)
        return {"ok": True}

    async def _cursor(self, principal: Principal, room: Room) -> str | list[int]:
        """``<partition>-<position>`` for a room of one partition, else the positions in partition order."""
        positions = await self._positions()
        partition: int | None = None
        if room.kind == "lead" and room.subject:
            partition = partition_of(UUID(room.subject), self._partitions)
        elif room.kind == "enrollment":
            enrollments = await self._views.collection("enrollments")
            found = await enrollments.find_one(
                Scope(principal.organization_id).filter({"_id": room.subject}), {"partition": 1}
            )
            partition = int(found["partition"]) if found else None
        if partition is None or partition >= len(positions):
            return positions
        return f"{partition:02d}-{positions[partition]}"

    async def _positions(self) -> list[int]:
        """How far every view has come at least, by partition."""
        by_view = [view["positions"] for view in await self._views.status() if view["name"] in VIEW_NAMES]
        return [min(column) for column in zip(*by_view, strict=False)]

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(LAG_SECONDS)
            try:
                await self._check_rights()
                if self._clients:
                    lag = {"cursor": await self._positions(), "seconds": await self._views.lag_seconds()}
                    await self._tell_own("lag", lag)
            except Exception as error:  # noqa: BLE001
                _log.warning("live pulse failed", error=repr(error))

    async def _check_rights(self) -> None:
        """Lets those go whose token has ended or who may not sign in any more, and leaves rooms no longer allowed."""
        now = self._clock.wall()
        for sid, client in tuple(self._clients.items()):
            today = await self._directory.still(client.principal)
            if today is None or (client.expires_at is not None and client.expires_at <= now):
                await self.server.disconnect(sid, namespace=NAMESPACE)
                continue
            before, client.principal = client.principal, today
            for room in tuple(client.rooms.values()):
                if room.permission not in today.permissions:
                    del client.rooms[room.name]
                    await self._leave(sid, before, room)

    async def _leave(self, sid: str, principal: Principal, room: Room) -> None:
        for name in _heard(principal, room):
            await self.server.leave_room(sid, name, namespace=NAMESPACE)

    def _missed(self) -> None:
        """The listener is back after a break: pushes may be lost."""
        self._spawn(self._tell_own("resync", {}))

    async def _tell_own(self, event: str, data: Any) -> None:
        """To this gateway's own clients; every gateway tells its own."""
        await socketio.AsyncManager.emit(self._manager, event, data, namespace=NAMESPACE, room=None)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _heard(principal: Principal, room: Room) -> list[str]:
    """What is joined for a room: with an organization's goes its feed, for who may read leads."""
    if room.kind == "organization" and "leads:read" in principal.permissions:
        return [room.name, activity_room(principal.organization_id)]
    return [room.name]
