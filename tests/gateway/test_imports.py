from __future__ import annotations

import json
from typing import Any

import pytest

from shared.events.lead import LeadCreated
from tests.gateway.conftest import Gateway
from tests.support.waiting import eventually

IMPORT = "/api/v1/leads/import"
FILE = (
    "E-Mail;First Name;Budget;score\n"
    "ada@example.com;Ada;5000;7\n"
    "nobody;Bob;;\n"
    "eve@example.com;Eve;;many\n"
    "joe@example.com;Joe;;\n"
)


KEY_ACTOR = "api_key:00000000-0000-0000-0000-000000000007"


def csv(gateway: Gateway) -> dict[str, str]:
    return {**gateway.key(), "Content-Type": "text/csv"}


async def finished(gateway: Gateway, import_id: str) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        found: dict[str, Any] = (
            await gateway.http.get(f"/api/v1/leads/imports/{import_id}", headers=gateway.key())
        ).json()
        return found if found["state"] != "running" else None

    report: dict[str, Any] | None = await eventually(over, 60.0)
    assert report is not None
    return report


def taken(gateway: Gateway) -> list[LeadCreated]:
    return [each.message for each in gateway.write_side.seen if isinstance(each.message, LeadCreated)]


async def test_a_preview_tells_format_mapping_and_first_rows_and_sends_nothing(gateway: Gateway) -> None:
    answer = await gateway.http.post(
        IMPORT, params={"preview": True}, content=FILE.encode("utf-16"), headers=csv(gateway)
    )
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert (seen["encoding"], seen["delimiter"]) == ("utf-16", ";")
    assert seen["mapping"] == {
        "E-Mail": "email",
        "First Name": "first_name",
        "Budget": "custom:budget",
        "score": "score",
    }
    assert [row["line"] for row in seen["rows"] if row["problem"]] == [3, 4]
    assert seen["rows"][0]["lead"]["custom_fields"] == {"budget": "5000"}
    assert not taken(gateway)


async def test_good_rows_become_leads_and_bad_ones_are_told_with_their_line(gateway: Gateway) -> None:
    answer = await gateway.http.post(
        IMPORT,
        params={"funnel": "fair", "mapping": json.dumps({"Budget": ""})},
        content=FILE.encode(),
        headers=csv(gateway),
    )
    assert answer.status_code == 202, answer.text
    report = await finished(gateway, answer.json()["import_id"])
    assert {name: report[name] for name in ("state", "rows", "handled", "accepted", "rejected")} == {
        "state": "finished",
        "rows": 4,
        "handled": 4,
        "accepted": 2,
        "rejected": 2,
    }
    assert [(each["line"], each["field"], each["problem"]) for each in report["problems"]] == [
        (3, "email", "email: An email address must have an @-sign."),
        (4, "score", "score: is not a whole number"),
    ]
    await eventually(lambda: len(taken(gateway)) == 2)
    assert {each.actor for each in gateway.write_side.seen if isinstance(each.message, LeadCreated)} == {KEY_ACTOR}
    by_email = {message.lead.email: message for message in taken(gateway)}
    assert (by_email["ada@example.com"].funnel_id, by_email["ada@example.com"].lead.custom_fields) == ("fair", None)
    listed = (await gateway.http.get("/api/v1/leads/imports", headers=gateway.key())).json()["items"]
    assert [each["accepted"] for each in listed] == [2]
    other = await gateway.http.get(f"/api/v1/leads/imports/{report['id']}", headers=gateway.key("other"))
    assert other.status_code == 404


async def test_a_form_with_a_large_file_is_taken_and_a_row_has_the_same_id_each_time(gateway: Gateway) -> None:
    rows = "".join(f"lead{n}@example.com,{'x' * 1_000}\n" for n in range(1_100))  # beyond the limit of other bodies
    ids: list[set[str]] = []
    for _ in range(2):
        answer = await gateway.http.post(
            IMPORT, files={"file": ("leads.csv", f"email,note\n{rows}")}, headers=gateway.key(), timeout=60
        )
        assert answer.status_code == 202, answer.text
        report = await finished(gateway, answer.json()["import_id"])
        assert (report["accepted"], report["file_name"]) == (1_100, "leads.csv")
        await eventually(lambda: len(taken(gateway)) == 1_100, 60.0)
        ids.append({envelope.id for envelope in gateway.write_side.seen})
        gateway.write_side.seen.clear()
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("content", "params", "field"),
    [
        (b"", {}, "file"),
        (b"\x89PNG\0\0", {}, "file"),
        (b"email\na@example.com\n", {"mapping": "[1]"}, "mapping"),
        (b"email\na@example.com\n", {"mapping": '{"nowhere": "email"}'}, "mapping.nowhere"),
        (b"email\na@example.com\n", {"mapping": '{"email": "colour"}'}, "mapping.email"),
        (b"email\na@example.com\n", {"mapping": '{"email": ""}'}, "mapping"),
        (b"crm_id,first_name\n7,Ada\n", {}, "mapping"),
    ],
)
async def test_what_cannot_be_imported_names_what_is_wrong(
    gateway: Gateway, content: bytes, params: dict[str, str], field: str
) -> None:
    answer = await gateway.http.post(IMPORT, params=params, content=content, headers=csv(gateway))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text


async def test_a_preview_of_a_file_that_names_nobody_says_so_and_shows_what_to_map(gateway: Gateway) -> None:
    seen = await gateway.http.post(
        IMPORT, params={"preview": True}, content=b"Kontakt\na@x.com\n", headers=csv(gateway)
    )
    assert (seen.status_code, seen.json()["mapping"]) == (200, {"Kontakt": "custom:kontakt"})
    [wrong] = seen.json()["errors"]
    assert (wrong["field"], "email or phone" in wrong["problem"]) == ("mapping", True)
    mapped = {"preview": "true", "mapping": json.dumps({"Kontakt": "email"})}
    mended = await gateway.http.post(IMPORT, params=mapped, content=b"Kontakt\na@x.com\n", headers=csv(gateway))
    assert (mended.json()["errors"], mended.json()["rows"][0]["problem"]) == ([], None)
    assert not taken(gateway)


async def test_another_body_is_no_file(gateway: Gateway) -> None:
    answer = await gateway.http.post(IMPORT, json={}, headers=gateway.key())
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_content_type")
    empty = await gateway.http.post(IMPORT, files={"other": "x"}, headers=gateway.key())
    assert empty.status_code == 400
