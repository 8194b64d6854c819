"""The projector on real servers: feed in, documents out."""

from __future__ import annotations

from shared.persistence.figures import Figures
from tests.projector.conftest import Bench
from tests.projector.log import SEQUENCE, nurture


async def test_frames_become_documents(bench: Bench) -> None:
    lead, enrollment = nurture(bench.log, 1)
    await bench.relay.relay()
    async with bench.projector():
        await bench.caught_up()
        document = (await bench.documents("enrollments"))[str(enrollment)]
        assert document["status"] == "completed"
        assert document["counts"]["sent"] == 2
        assert document["counts"]["opened"] == 1
        assert document["steps"]["1"]["status"] == "sent"
        assert (await bench.documents("leads"))[str(lead)]["name"] == "Ada Byron1"
        sequence = (await bench.documents("sequences"))[str(SEQUENCE)]
        assert sequence["status"] == "active"
        assert sequence["name"] == "Welcome"
        totals = await Figures(bench.reader).totals("demo")
        assert totals["sent"] == 2
        assert totals["leads"] == 1
