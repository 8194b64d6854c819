"""Leads as a file, there and back; an erasure followed place by place."""

from __future__ import annotations

import csv
import io
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lead_csv import COLUMNS, guarded, lines, row_of, unguarded
from shared.lead_file import format_of, rows_of, suggested
from shared.persistence.erasure import receipts
from shared.persistence.mongo import connect
from shared.persistence.views import ViewReader
from shared.settings import load_settings
from tendril.cli.lead_data import _export, _followed, _opened
from tendril.cli.leads import NoSuchFile
from tendril.cli.organizations import NoSuchOrganization
from tendril.cli.trials import Bench, NoSuchSequence

LEAD, OTHER = UUID(int=1), UUID(int=2)


@given(st.text(max_size=30))
def test_no_cell_starts_a_formula_and_every_cell_comes_back(cell: str) -> None:
    assert not guarded(cell).startswith(("=", "+", "-", "@", "\t", "\r"))
    if not cell.startswith("'"):
        assert unguarded(guarded(cell)) == cell


def document(lead_id: UUID = LEAD, **more: Any) -> dict[str, Any]:
    return {
        "_id": str(lead_id),
        "organization_id": "demo",
        "email": "ada@example.com",
        "phone": "+4915112345678",
        "first_name": "=HYPERLINK(1)",
        "score": 42,
        "tags": ["vip", "@home"],
        "consent": {"email": True, "sms": False},
        "custom_fields": {"a．b": 1, "tea": "green"},
        **more,
    }


def test_what_was_exported_can_be_imported(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    file.write_text(lines([COLUMNS, row_of(document())]), encoding="utf-8", newline="")
    cells = next(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    assert (cells["phone"], cells["first_name"]) == ("'+4915112345678", "'=HYPERLINK(1)")
    form = format_of(file.read_bytes())
    [row] = rows_of(file, form, suggested(form.columns), "demo", "again")
    assert row.body is not None
    assert row.body["lead"] == {
        "email": "ada@example.com",
        "phone": "+4915112345678",
        "first_name": "=HYPERLINK(1)",
        "score": 42,
        "tags": ["vip", "@home"],
        "consent": {"email": True, "sms": False},
        "custom_fields": {"a.b": 1, "tea": "green"},
    }


async def test_an_export_holds_the_organizations_living_leads(mongo_url: str, tmp_path: Path) -> None:
    settings = load_settings({}, mongo_url=mongo_url, home=tmp_path)
    client = connect(mongo_url)
    leads = await ViewReader(client, settings.database_prefix).collection("leads")
    await leads.insert_many(
        [
            document(UUID(int=10), status="New", email="new@example.com"),
            document(UUID(int=11), email="old@example.com"),
            document(UUID(int=12), erased=True, email=None),
            document(UUID(int=13), organization_id="other", email="theirs@example.com"),
        ]
    )
    await (await ViewReader(client, settings.database_prefix).collection("organizations")).insert_one({"_id": "demo"})
    file = tmp_path / "leads.csv"
    assert await _export(settings, "demo", {}, file) == 2
    assert {row["email"] for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))} == {
        "new@example.com",
        "old@example.com",
    }
    assert await _export(settings, "demo", {"status": "New"}, file) == 1
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    await client.close()


async def test_an_organization_that_is_not_there_is_no_empty_file(mongo_url: str, tmp_path: Path) -> None:
    settings = load_settings({}, mongo_url=mongo_url, home=tmp_path / "home")
    kept = tmp_path / "kept.csv"
    kept.write_text("email\n", encoding="utf-8")
    missing = tmp_path / "leads.csv"
    for path in (missing, kept, None):
        with pytest.raises(NoSuchOrganization, match="no organization 'typo': nothing was exported"):
            await _export(settings, "typo", {}, path)
    assert not missing.exists()
    assert kept.read_text(encoding="utf-8") == "email\n"


def test_a_file_is_there_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "leads.csv"
    writing = ExitStack()
    writing.enter_context(_opened(file)).write("half")
    assert writing.__exit__(RuntimeError, RuntimeError(), None) is False
    assert list(tmp_path.iterdir()) == []
    with _opened(file) as target:
        target.write("whole")
        assert not file.exists()
    assert [each.read_text(encoding="utf-8") for each in tmp_path.iterdir()] == ["whole"]
    with pytest.raises(NoSuchFile, match="cannot be written"), _opened(tmp_path / "no" / "leads.csv"):
        pass
    with _opened(Path(os.devnull)) as target:
        target.write("gone")
    assert not Path(os.devnull).is_file()


def test_who_may_read_a_file_of_leads_stays_as_it_is_and_is_nobody_else_at_first(tmp_path: Path) -> None:
    file, link = tmp_path / "leads.csv", tmp_path / "link.csv"
    for mode in (0o600, 0o640):
        with _opened(file) as target:
            target.write(oct(mode))
        assert file.stat().st_mode & 0o777 == mode
        file.chmod(0o640)
    link.symlink_to(file)
    with _opened(link) as target:
        target.write("through the link")
    assert link.is_symlink()
    assert (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == ("through the link", 0o640)


async def test_a_trial_of_nobodys_sequence_names_the_organization(mongo_url: str, tmp_path: Path) -> None:
    settings = load_settings({}, mongo_url=mongo_url, home=tmp_path)
    client = connect(mongo_url)
    with pytest.raises(NoSuchOrganization, match="nothing was played"):
        await Bench(settings, client).sequence("Webinar follow-up", "typo")
    with pytest.raises(NoSuchSequence):
        await Bench(settings, client).sequence("Webinar follow-up", None)
    await client.close()


async def test_receipts_count_what_is_still_held_and_the_last_is_clean(mongo_url: str, tmp_path: Path) -> None:
    settings = load_settings({}, mongo_url=mongo_url, home=tmp_path)
    client = connect(mongo_url)
    prefix = settings.database_prefix
    views, gateway = ViewReader(client, prefix), client.database(f"{prefix}_gateway")
    ledger = client.database(f"{prefix}_ledger")
    for lead_id in (LEAD, OTHER):
        of = {"lead_id": str(lead_id)}
        await (await views.collection("leads")).insert_one(document(lead_id))
        await (await views.collection("timeline")).insert_one({**of, "personal": {"text": "x"}})
        await (await views.collection("tasks")).insert_one({**of, "title": "Call Ada"})
        await ledger.collection("dispatches").insert_one({"_id": lead_id, "lead_id": lead_id, "message": {"to": "x"}})
        await gateway.collection("mailbox").insert_one(of)
    found = {each.place: each.left for each in await receipts(views, gateway, ledger, LEAD)}
    assert found == {
        "view leads": 1,
        "view timeline": 1,
        "view tasks": 1,
        "view notifications": 0,
        "ledger": 1,
        "dead_letters": 0,
        "mailbox": 1,
    }
    gone: dict[str, Any] = {"email": None, "phone": None, "first_name": None, "custom_fields": {}}
    await (await views.collection("leads")).update_one({"_id": str(LEAD)}, {"$set": gone})
    for view, field in (("timeline", "personal"), ("tasks", "title")):
        await (await views.collection(view)).update_many({"lead_id": str(LEAD)}, {"$set": {field: None}})
    await ledger.collection("dispatches").update_one({"_id": LEAD}, {"$set": {"message": None}})
    assert not any(each.left for each in await _followed(settings, client, LEAD))
    assert sum(each.left for each in await receipts(views, gateway, ledger, OTHER)) == 5
    await client.close()
