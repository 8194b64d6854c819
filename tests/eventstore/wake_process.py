"""A clerk that wakes many timers, in a process of its own; prints how many are due, and how many there are. Run:
python wake_process.py STORE_URL"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.enrollment.timer_wakes import TimerWakes
from shared.clock import SystemClock
from shared.ids import new_id
from shared.persistence.eventstore import Effects, TimerWake, open_url, wakes
from tests.eventstore.builders import MASTER_KEY, NOW, timer

COUNT = 3 * wakes.PAGE - 7


def main(store_url: str) -> None:
    with closing(open_url(store_url, master_key=MASTER_KEY)) as store:
        if not store.timers_count()["waiting"]:
            store.append([], Effects(timers=[timer(new_id(), 86_400) for _ in range(COUNT)]))
            store.append([], Effects(timers_woken=[TimerWake(None, "demo", NOW, 600)]))
        clerk = TimerWakes(store, SystemClock())
        while asyncio.run(clerk.turn()):
            pass
        woken = store.timers_due_count(NOW + timedelta(seconds=600))
        sys.stdout.write(f"{sum(woken.values())} {store.timers_count()['waiting']}\n")


if __name__ == "__main__":
    main(sys.argv[1])
