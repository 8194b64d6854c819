"""What the projector counts."""

from __future__ import annotations

from shared.telemetry import counter, gauge, histogram

EVENTS = counter("projector_events_total", "Events taken into the views")
BATCH_EVENTS = histogram(
    "projector_batch_events", "Events in one commit", buckets=(1, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 4000)
)
BATCH_SECONDS = histogram(
    "projector_batch_seconds", "Machine time of one commit", buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
)
LAG = gauge(
    "projector_lag_seconds", "Machine time from an event to its commit in the views, of the newest batch", ["view"]
)
PARTITIONS = gauge("projector_partitions", "Partitions this process owns")
VIEWS_BROKEN = counter("projector_views_broken_total", "Views set aside in a partition", ["view"])
GAPS = counter("projector_gaps_total", "Gaps in the feed filled from the reader")
FENCED = counter("projector_fenced_total", "Commits refused because a checkpoint was elsewhere")
BUILT_EVENTS = counter("projector_built_events_total", "Events read from the log to build a generation")
PUSHES_LOST = counter("projector_pushes_lost_total", "Announcements that could not be sent")
