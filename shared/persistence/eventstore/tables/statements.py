"""Every statement that writes rows of the side tables."""

from __future__ import annotations

from shared.persistence.eventstore.tables.session import Write, insert

EVENTS = insert(
    "stored_events",
    {
        "notification_id": "bigint",
        "originator_id": "uuid",
        "originator_version": "bigint",
        "topic": "text",
        "state": "bytea",
    },
)

INBOX = insert(
    "inbox",
    {
        "organization_id": "text",
        "exchange": "text",
        "message_id": "text",
        "answer": "bytea",
        "position": "bigint",
        "at": "bigint",
    },
    "ON CONFLICT (organization_id, exchange, message_id) DO NOTHING",
)
IDENTITIES = insert(
    "identities",
    {"organization_id": "text", "kind": "text", "hash": "text", "lead_id": "uuid"},
    "ON CONFLICT (organization_id, kind, hash) DO NOTHING",
)
IDENTITIES_GONE = Write(
    ("uuid",),
    "DELETE FROM identities WHERE lead_id = ?",
    "DELETE FROM identities AS t USING {rows} WHERE t.lead_id = r.a",
)
TIMERS = insert(
    "timers",
    {
        "aggregate_id": "uuid",
        "name": "text",
        "organization_id": "text",
        "class": "smallint",
        "due_at": "bigint",
        "blocked_on": "text",
        "execution": "bigint",
        "attempt": "bigint",
    },
    "ON CONFLICT (aggregate_id, name) DO UPDATE SET organization_id = excluded.organization_id, "
    "class = excluded.class, due_at = excluded.due_at, blocked_on = excluded.blocked_on, "
    "execution = excluded.execution, attempt = excluded.attempt",
)
TIMERS_GONE = Write(
    ("uuid", "text"),
    "DELETE FROM timers WHERE aggregate_id = ? AND name = ?",
    "DELETE FROM timers AS t USING {rows} WHERE t.aggregate_id = r.a AND t.name = r.b",
)
#: Touches a row only while there is room, so that the count of rows touched says whether every place was had.
QUOTAS = insert(
    "quotas",
    {"organization_id": "text", "scope": "text", "slot": "text", "used": "bigint", "cap": "bigint"},
    "ON CONFLICT (organization_id, scope, slot) DO UPDATE SET used = quotas.used + excluded.used, cap = excluded.cap "
    "WHERE quotas.used + excluded.used <= excluded.cap",
)
QUOTAS_GIVEN_BACK = Write(
    ("bigint", "text", "text", "text"),
    "UPDATE quotas SET used = max(used - ?, 0) WHERE organization_id = ? AND scope = ? AND slot = ?",
    "UPDATE quotas AS t SET used = greatest(t.used - r.a, 0) FROM {rows} "
    "WHERE t.organization_id = r.b AND t.scope = r.c AND t.slot = r.d",
)
SUPPRESSIONS = insert(
    "suppressions",
    {"organization_id": "text", "channel": "text", "hash": "text", "reason": "text", "at": "bigint"},
    "ON CONFLICT (organization_id, channel, hash) DO UPDATE SET reason = excluded.reason, at = excluded.at",
)
SUPPRESSIONS_GONE = Write(
    ("text", "text", "text"),
    "DELETE FROM suppressions WHERE organization_id = ? AND channel = ? AND hash = ?",
    "DELETE FROM suppressions AS t USING {rows} WHERE t.organization_id = r.a AND t.channel = r.b AND t.hash = r.c",
)
FIGURES = insert(
    "figures",
    {"organization_id": "text", "kind": "text", "key": "text", "value": "bigint"},
    "ON CONFLICT (organization_id, kind, key) DO UPDATE SET value = figures.value + excluded.value",
)
FIGURES_GONE = Write(
    ("text", "text"),
    "DELETE FROM figures WHERE organization_id = ? AND kind = ?",
    "DELETE FROM figures AS t USING {rows} WHERE t.organization_id = r.a AND t.kind = r.b",
)
#: An erased key (null) may be followed by a new one; a living key is never replaced.
KEYS = insert(
    "keys",
    {"lead_id": "uuid", "wrapped": "bytea"},
    "ON CONFLICT (lead_id) DO UPDATE SET wrapped = excluded.wrapped WHERE keys.wrapped IS NULL",
)
KEYS_GONE = insert(
    "keys", {"lead_id": "uuid", "wrapped": "bytea"}, "ON CONFLICT (lead_id) DO UPDATE SET wrapped = NULL"
)
ORGANIZATION_KEYS = insert(
    "organization_keys", {"organization_id": "text", "wrapped": "bytea"}, "ON CONFLICT (organization_id) DO NOTHING"
)
CATALOGUE = insert(
    "catalogue",
    {"organization_id": "text", "sequence_id": "uuid", "status": "text", "version": "bigint"},
    "ON CONFLICT (organization_id, sequence_id) DO UPDATE SET status = excluded.status, version = excluded.version",
)
BULKS = insert("bulks", {"bulk_id": "uuid", "organization_id": "text"}, "ON CONFLICT (bulk_id) DO NOTHING")
BULKS_GONE = Write(
    ("uuid",),
    "DELETE FROM bulks WHERE bulk_id = ?",
    "DELETE FROM bulks AS t USING {rows} WHERE t.bulk_id = r.a",
)
COMPANIES = insert(
    "companies",
    {"lead_id": "uuid", "organization_id": "text", "hash": "text"},
    "ON CONFLICT (lead_id) DO UPDATE SET organization_id = excluded.organization_id, hash = excluded.hash",
)
COMPANIES_GONE = Write(
    ("uuid",),
    "DELETE FROM companies WHERE lead_id = ?",
    "DELETE FROM companies AS t USING {rows} WHERE t.lead_id = r.a",
)
COMPANY_STOPS = insert(
    "company_stops",
    {
        "enrollment_id": "uuid",
        "signal": "text",
        "organization_id": "text",
        "sequence_id": "uuid",
        "action": "text",
        "hash": "text",
    },
    "ON CONFLICT (enrollment_id, signal) DO NOTHING",
)
#: The same order again begins again: what was planned between the two is not passed over.
TIMER_WAKES = insert(
    "timer_wakes",
    {"organization_id": "text", "blocked_on": "text", "at": "bigint", "spread_seconds": "bigint"},
    "ON CONFLICT (organization_id, blocked_on, at) DO UPDATE SET spread_seconds = excluded.spread_seconds, "
    "reached = NULL",
)
META = insert("meta", {"key": "text", "value": "bytea", "number": "bigint"}, "ON CONFLICT (key) DO NOTHING")
