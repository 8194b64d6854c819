"""What the tracker counts."""

from __future__ import annotations

from shared.telemetry import counter, gauge, histogram

SIGNALS = counter("tracker_signals_total", "Signals taken in", ["signal", "source"])
MACHINE_SIGNALS = counter("tracker_machine_signals_total", "Signals judged to be a machine's", ["reason"])
CAPPED = counter("tracker_capped_hits_total", "Hits beyond the cap of their token and minute, sent as a count")
REFUSED = counter("tracker_refused_total", "Requests and mails that were refused", ["door", "reason"])
BATCH_SIZE = histogram(
    "tracker_batch_signals", "Signals in one published frame", buckets=(1, 2, 5, 10, 25, 50, 100, 200)
)
SPOOLED = counter("tracker_spooled_total", "Messages put on disk because the broker was away or slow")
DRAINED = counter("tracker_drained_total", "Messages brought from disk to the broker")
DAMAGED = counter("tracker_spool_damaged_total", "Lines of the spool that could not be read")
BROKER_UP = gauge("tracker_broker_up", "1 while there is a connection to publish on")
LOST = counter("tracker_lost_total", "Signals that neither broker nor disk nor memory could hold")
SPOOL_BYTES = gauge("tracker_spool_bytes", "Bytes on disk that wait for the broker")
UNREADABLE_MAILS = counter("tracker_unreadable_mails_total", "Mails whose content could not be parsed")
