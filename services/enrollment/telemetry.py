"""What the write side counts."""

from __future__ import annotations

from shared.telemetry import counter, gauge, histogram

BATCH_SIZE = histogram("commit_batch_commands", "Commands in one commit", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 512))
COMMANDS = counter("commands_total", "Commands and facts decided", ["topic", "result"])
CONFLICTS = counter("commit_conflicts_total", "Batches decided again", ["kind"])
EVENTS = counter("events_total", "Events appended to the log")
DEAD = counter("messages_refused_total", "Messages that were refused and dead-lettered", ["queue", "code"])
TIMER_LAG = histogram(
    "timer_lag_seconds",
    "From due to decided, machine time",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
)
TIMERS_WOKEN = counter("timers_woken_total", "Timers given to the committer", ["timer_class"])
QUOTA_WAITS = counter(
    "quota_waits_total", "Messages planned later than asked because a limit was used up", ["scope", "unit"]
)
RELAY_POSITION = gauge("relay_position", "Highest position below which everything is published")
RELAY_BEHIND = gauge("relay_behind_events", "Events in the log that are not yet published")
RELAY_ALARMS = counter(
    "relay_alarms_total", "Events that could not be read, or steps that could not be dressed", ["kind"]
)
CLERK_ACTIVE = gauge("clerk_active", "1 while this process is the clerk")
