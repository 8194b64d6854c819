"""The tables, once for both databases.

Moments are whole microseconds since 1970 (UTC), so that both databases compare them alike. Events keep the library's
column names; their positions are given by the append itself, under the write lock, so that they follow the order of
commits without a gap.
"""

from __future__ import annotations

SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE IF NOT EXISTS stored_events (
    notification_id {position} PRIMARY KEY,
    originator_id {uuid} NOT NULL,
    originator_version {whole} NOT NULL,
    topic {text} NOT NULL,
    state {bytes} NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS stored_events_originator ON stored_events (originator_id, originator_version);
CREATE TABLE IF NOT EXISTS inbox (
    organization_id {text} NOT NULL,
    exchange {text} NOT NULL,
    message_id {text} NOT NULL,
    answer {bytes} NOT NULL,
    position {whole},
    at {whole} NOT NULL,
    PRIMARY KEY (organization_id, exchange, message_id)
){keyed};
CREATE INDEX IF NOT EXISTS inbox_at ON inbox (at);
CREATE TABLE IF NOT EXISTS identities (
    organization_id {text} NOT NULL,
    kind {text} NOT NULL,
    hash {text} NOT NULL,
    lead_id {uuid} NOT NULL,
    PRIMARY KEY (organization_id, kind, hash)
){keyed};
CREATE INDEX IF NOT EXISTS identities_lead ON identities (lead_id);
CREATE TABLE IF NOT EXISTS timers (
    aggregate_id {uuid} NOT NULL,
    name {text} NOT NULL,
    organization_id {text} NOT NULL,
    class {small} NOT NULL,
    due_at {whole},
    blocked_on {text},
    execution {whole} NOT NULL,
    attempt {whole} NOT NULL,
    PRIMARY KEY (aggregate_id, name)
){keyed}{busy};
CREATE INDEX IF NOT EXISTS timers_due ON timers (class, organization_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS timers_blocked ON timers (organization_id, blocked_on) WHERE blocked_on IS NOT NULL;
CREATE TABLE IF NOT EXISTS quotas (
    organization_id {text} NOT NULL,
    scope {text} NOT NULL,
    slot {text} NOT NULL,
    used {whole} NOT NULL,
    cap {whole} NOT NULL,
    PRIMARY KEY (organization_id, scope, slot)
){keyed}{busy};
CREATE TABLE IF NOT EXISTS suppressions (
    organization_id {text} NOT NULL,
    channel {text} NOT NULL,
    hash {text} NOT NULL,
    reason {text} NOT NULL,
    at {whole} NOT NULL,
    PRIMARY KEY (organization_id, channel, hash)
){keyed};
CREATE TABLE IF NOT EXISTS figures (
    organization_id {text} NOT NULL,
    kind {text} NOT NULL,
    key {text} NOT NULL,
    value {whole} NOT NULL,
    PRIMARY KEY (organization_id, kind, key)
){keyed}{busy};
CREATE TABLE IF NOT EXISTS keys (
    lead_id {uuid} NOT NULL PRIMARY KEY,
    wrapped {bytes}
){keyed};
CREATE TABLE IF NOT EXISTS organization_keys (
    organization_id {text} NOT NULL PRIMARY KEY,
    wrapped {bytes} NOT NULL,
    since {whole}
){keyed};
CREATE TABLE IF NOT EXISTS catalogue (
    organization_id {text} NOT NULL,
    sequence_id {uuid} NOT NULL,
    status {text} NOT NULL,
    version {whole} NOT NULL,
    PRIMARY KEY (organization_id, sequence_id)
){keyed};
CREATE TABLE IF NOT EXISTS bulks (
    bulk_id {uuid} NOT NULL PRIMARY KEY,
    organization_id {text} NOT NULL
){keyed};
CREATE TABLE IF NOT EXISTS companies (
    lead_id {uuid} NOT NULL PRIMARY KEY,
    organization_id {text} NOT NULL,
    hash {text} NOT NULL
){keyed};
CREATE INDEX IF NOT EXISTS companies_hash ON companies (organization_id, hash, lead_id);
CREATE TABLE IF NOT EXISTS company_stops (
    enrollment_id {uuid} NOT NULL,
    signal {text} NOT NULL,
    organization_id {text} NOT NULL,
    sequence_id {uuid} NOT NULL,
    action {text} NOT NULL,
    hash {text} NOT NULL,
    reached {uuid},
    PRIMARY KEY (enrollment_id, signal)
){keyed};
CREATE TABLE IF NOT EXISTS timer_wakes (
    organization_id {text} NOT NULL,
    blocked_on {text} NOT NULL,
    at {whole} NOT NULL,
    spread_seconds {whole} NOT NULL,
    reached {uuid},
    PRIMARY KEY (organization_id, blocked_on, at)
){keyed};
CREATE TABLE IF NOT EXISTS relay (
    id {small} NOT NULL PRIMARY KEY,
    position {whole} NOT NULL,
    per_partition {text} NOT NULL
){busy};
CREATE TABLE IF NOT EXISTS meta (
    key {text} NOT NULL PRIMARY KEY,
    value {bytes},
    number {whole}
){busy};
"""

_SQLITE = {
    "position": "INTEGER",
    "uuid": "TEXT",
    "whole": "INTEGER",
    "small": "INTEGER",
    "text": "TEXT",
    "bytes": "BLOB",
    "keyed": " WITHOUT ROWID",
    "busy": "",
}
# Collation "C": texts are keys here, compared byte by byte, as SQLite does. Busy tables are vacuumed early.
_POSTGRES = {
    "position": "bigint",
    "uuid": "uuid",
    "whole": "bigint",
    "small": "smallint",
    "text": 'text COLLATE "C"',
    "bytes": "bytea",
    "keyed": "",
    "busy": " WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500)",
}
# The lock that puts appends in order is taken on a table of its own: on stored_events it would fight with autovacuum.
_POSTGRES_LOCK = "CREATE TABLE IF NOT EXISTS append_lock (nothing boolean)"


def sqlite_statements() -> list[str]:
    return _statements(_SQLITE)


def postgres_statements() -> list[str]:
    return [*_statements(_POSTGRES), _POSTGRES_LOCK]


def _statements(types: dict[str, str]) -> list[str]:
    return [statement.strip().format(**types) for statement in _TABLES.split(";\n") if statement.strip()]
