"""Organizations: settings, members, API keys, senders, addresses suppressed by hand. Sign-in reads it."""

from __future__ import annotations

from typing import ClassVar

from services.projector.event import Event, moment
from services.projector.ops import Ops
from services.projector.views.ignored import BULK, ENGAGEMENT, ENROLLMENT, FUNNEL, LEAD, SEQUENCE, TASK
from services.projector.views.plain import plain_fields
from services.projector.views.view import Keys, View, on
from shared.events.definition import QuietHours

_SETTINGS = ("name", "timezone", "postal_address", "windows", "quiet_hours", "limits", "max_open_enrollments")


class Organizations(View):
    """A document per organization; its id is the organization's own word."""

    name = "organizations"
    version = 5
    indexes: ClassVar[tuple[Keys, ...]] = ((("member_emails", 1),), (("key_hashes", 1),))
    ignored = (
        BULK
        | FUNNEL
        | LEAD
        | ENROLLMENT
        | ENGAGEMENT
        | TASK
        | SEQUENCE
        | {"organization.template_saved.v1", "organization.template_removed.v1"}
        | {"organization.attachment_added.v1", "organization.attachment_removed.v1"}
        | {"organization.deed_recorded.v1"}  # the audit has it
    )

    @on("organization.founded.v1")
    def founded(self, event: Event, ops: Ops) -> None:
        data = event.data
        ops.new_document(
            event,
            event.organization_id,
            {
                "name": data["name"],
                "timezone": data["timezone"],
                "postal_address": data["postal_address"],
                "windows": [],
                "quiet_hours": QuietHours().model_dump(),
                "calendars": {},
                "limits": {},
                "score_rules": {},
                "max_open_enrollments": 0,
                "members": {},
                "member_emails": [],
                "api_keys": {},
                "key_hashes": [],
                "senders": {},
                "suppressions": {},
                "snippets": {},
                "founded_at": event.at,
            },
        )

    @on("organization.settings_set.v1")
    def settings_set(self, event: Event, ops: Ops) -> None:
        data = event.data
        document = ops.document(event, event.organization_id)
        document.set({field: data[field] for field in _SETTINGS if data.get(field) is not None})
        if data.get("score_rules") is not None:
            document.set({"score_rules": plain_fields(data["score_rules"])})

    @on("organization.calendar_set.v1")
    def calendar_set(self, event: Event, ops: Ops) -> None:
        data = event.data
        entry = {"holidays": data.get("holidays"), "days_off": list(data.get("days_off", []))}
        document = ops.document(event, event.organization_id)
        if entry["holidays"] is None and not entry["days_off"]:
            document.unset(f"calendars.{data['calendar']}")
        else:
            document.set({f"calendars.{data['calendar']}": entry})

    @on("organization.member_added.v1")
    def member_added(self, event: Event, ops: Ops) -> None:
        data = event.data
        member = {
            "email": data["email"],
            "name": data["name"],
            "role": data["role"],
            "active": True,
            "password_hash": data.get("password_hash"),
            "added_at": event.at,
            "epoch": 0,
        }
        document = ops.document(event, event.organization_id)
        document.set({f"members.{data['member_id']}": member})
        document.add_to_set("member_emails", [data["email"].strip().casefold()])

    @on("organization.member_set.v1")
    def member_set(self, event: Event, ops: Ops) -> None:
        data = event.data
        path = f"members.{data['member_id']}"
        changed = {
            f"{path}.{field}": data[field]
            for field in ("role", "password_hash", "active")
            if data.get(field) is not None
        }
        changed[f"{path}.epoch"] = event.position  # who signed in before must do so again
        ops.document(event, event.organization_id).set(changed)

    @on("organization.api_key_issued.v1")
    def api_key_issued(self, event: Event, ops: Ops) -> None:
        data = event.data
        key = {
            "name": data["name"],
            "role": data["role"],
            "scopes": list(data["scopes"]),
            "secret_hash": data["secret_hash"],
            "revoked": False,
            "issued_at": event.at,
        }
        document = ops.document(event, event.organization_id)
        document.set({f"api_keys.{data['key_id']}": key})
        document.add_to_set("key_hashes", [data["secret_hash"]])

    @on("organization.api_key_revoked.v1")
    def api_key_revoked(self, event: Event, ops: Ops) -> None:
        ops.document(event, event.organization_id).set({f"api_keys.{event.data['key_id']}.revoked": True})

    @on("organization.sender_set.v1")
    def sender_set(self, event: Event, ops: Ops) -> None:
        data = event.data
        fields = {field: data.get(field) for field in ("name", "email", "limits", "active", "ramp_up", "brake")}
        fields["ramp_from"] = moment(data.get("ramp_from"))
        path = f"senders.{data['sender_id']}"
        ops.document(event, event.organization_id).set({f"{path}.{name}": value for name, value in fields.items()})

    @on("organization.sender_braked.v1")
    def sender_braked(self, event: Event, ops: Ops) -> None:
        braked = {"at": moment(event.data["at"]), "why": event.data["why"]}
        ops.document(event, event.organization_id).set({f"senders.{event.data['sender_id']}.braked": braked})

    @on("organization.sender_released.v1")
    def sender_released(self, event: Event, ops: Ops) -> None:
        ops.document(event, event.organization_id).set({f"senders.{event.data['sender_id']}.braked": None})

    @on("organization.snippet_set.v1")
    def snippet_set(self, event: Event, ops: Ops) -> None:
        data = event.data
        snippet = {"text": data["text"], "html": data.get("html"), "updated_at": event.at, "updated_by": event.actor}
        ops.document(event, event.organization_id).set({f"snippets.{data['name']}": snippet})

    @on("organization.snippet_removed.v1")
    def snippet_removed(self, event: Event, ops: Ops) -> None:
        ops.document(event, event.organization_id).unset(f"snippets.{event.data['name']}")

    @on("organization.address_suppressed.v1")
    def address_suppressed(self, event: Event, ops: Ops) -> None:
        data = event.data
        entry = {
            "channel": data["channel"],
            "address_hash": data["address_hash"],
            "reason": data["reason"],
            "at": moment(data["at"]),
        }
        path = f"suppressions.{data['channel']}_{data['address_hash']}"
        ops.document(event, event.organization_id).set({path: entry})

    @on("organization.address_unsuppressed.v1")
    def address_unsuppressed(self, event: Event, ops: Ops) -> None:
        document = ops.document(event, event.organization_id)
        document.unset(f"suppressions.{event.data['channel']}_{event.data['address_hash']}")
