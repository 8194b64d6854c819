"""``tendril`` with claims and leases that end soon after their holder: for a process that is to be killed, so that the
next one need not wait long for what it held. Everything else is as it is.
"""

from __future__ import annotations

from services.dispatcher import states
from shared.persistence import leases

states.LEASE_SECONDS, states.RENEW_SECONDS = 6.0, 2.0
leases.TTL_SECONDS, leases.RENEW_SECONDS = 4.0, 1.0

from tendril.cli import main  # noqa: E402 - what is wired takes the values above

if __name__ == "__main__":
    main()
