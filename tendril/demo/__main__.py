"""``python -m tendril.demo``: started by ``tendril up --demo`` once everything serves."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import structlog
import uvloop

from shared.clock import load_clock
from shared.messaging.publisher import Publisher
from shared.persistence.mongo import connect
from shared.persistence.views import ViewReader
from shared.settings import SettingsError, load_settings
from shared.telemetry import configure_logging
from tendril.demo.api import Api
from tendril.demo.funnel import Funnel
from tendril.demo.progress import ProgressFile
from tendril.demo.recipients import Recipients
from tendril.mailbox import COLLECTION, database_of

ORGANIZATION_ID = "demo"
ADMIN_SECONDS = 60.0
POLL_SECONDS = 0.2

log = structlog.get_logger(__name__)


class NobodyThere(Exception):
    """The admin of the demo is missing. One line."""


async def serve() -> None:
    """Until SIGTERM or SIGINT. Raises SettingsError, ApiRefused, DemoUnreadable."""
    settings = load_settings()
    configure_logging(settings.log_format, "demo")
    if settings.admin_email is None or settings.admin_password is None:
        raise SettingsError("TENDRIL_ADMIN_EMAIL is not set: expected with TENDRIL_ADMIN_PASSWORD for the demo")
    clock = load_clock(settings.home)
    progress = ProgressFile(settings.home)
    publisher = Publisher(settings.require_amqp_url(), name="demo", partitions=settings.partitions)
    client = connect(settings.require_mongo_url(), settings.mongo_driver)
    mails = client.database(database_of(settings.database_prefix)).collection(COLLECTION, majority=False)
    api = Api(
        f"http://127.0.0.1:{settings.gateway_port}", settings.admin_email, settings.admin_password.get_secret_value()
    )
    loop = asyncio.get_running_loop()
    working = asyncio.current_task()
    assert working is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    try:
        await publisher.start()
        await admin_is_there(ViewReader(client, settings.database_prefix), settings.admin_email)
        await api.sign_in()
        await api.prepare()
        log.info("demo_ready", seed=progress.progress.seed, leads=progress.progress.next_lead)
        async with asyncio.TaskGroup() as group:
            group.create_task(Funnel(publisher, api, clock, progress).run())
            group.create_task(Recipients(mails, publisher, clock, progress, settings.inbound_smtp_port).run())
    finally:
        progress.save()
        await asyncio.gather(publisher.close(), api.close(), client.close())


async def admin_is_there(views: ViewReader, email: str) -> None:
    """Returns once the view from which people sign in knows the first admin. Raises NobodyThere after a minute."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ADMIN_SECONDS
    while loop.time() < deadline:
        organizations = await views.collection("organizations")
        if await organizations.find_one({"_id": ORGANIZATION_ID, "member_emails": email.casefold()}):
            return
        await asyncio.sleep(POLL_SECONDS)
    raise NobodyThere(
        f"organization {ORGANIZATION_ID} has no member {email}: add one with tendril member add --organization "
        f"{ORGANIZATION_ID} --email {email} --role admin --password …, as in TENDRIL_ADMIN_PASSWORD"
    )


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
