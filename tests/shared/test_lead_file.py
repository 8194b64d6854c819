"""A file of leads: good rows become what a funnel would send, bad ones are told with their line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from shared.lead_file import (
    BadMapping,
    NobodyNamed,
    Row,
    UnreadableFile,
    checked,
    format_of,
    id_of,
    must_name_leads,
    rows_of,
    suggested,
)


def rows(tmp_path: Path, text: str, encoding: str = "utf-8") -> list[Row]:
    file = tmp_path / "leads.csv"
    file.write_text(text, encoding=encoding)
    form = format_of(file.read_bytes())
    return list(rows_of(file, form, suggested(form.columns), "acme", "import"))


def test_known_columns_become_fields_and_others_custom_fields(tmp_path: Path) -> None:
    (row,) = rows(
        tmp_path,
        "Email,First_Name,score,tags,consent_email,favourite tea,phone\n"
        "ada@example.com,Ada,42,vip; webinar ,yes,green,\n",
    )
    assert row.body == {
        "organization_id": "acme",
        "funnel_id": "import",
        "lead": {
            "email": "ada@example.com",
            "first_name": "Ada",
            "score": 42,
            "tags": ["vip", "webinar"],
            "consent": {"email": True},
            "custom_fields": {"favourite tea": "green"},
        },
    }


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "\ufeffemail\nada@example.com\n")
    assert row.body is not None
    assert row.body["lead"] == {"email": "ada@example.com"}


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("score", "9" * 5_000),
        ("custom_fields", '{"budget": ' + "9" * 5_000 + "}"),
        ("custom_fields", "[" * 100_000),
    ],
)
def test_a_cell_that_no_reader_takes_is_a_bad_row_and_stops_nothing(tmp_path: Path, column: str, cell: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    bad, good = rows(tmp_path, f"email,{column}\na@example.com,{quoted}\nb@example.com,\n")
    assert (bad.body, bad.field, good.problem) == (None, column, None)
    assert len(bad.problem or "") < 100


def test_bad_rows_are_told_with_their_line_and_stop_nothing(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        "email,score,consent_sms,custom_fields\n"
        "nobody,,,\n"
        "a@example.com,many,,\n"
        "b@example.com,101,,\n"
        "c@example.com,,perhaps,\n"
        'd@example.com,,,"[1]"\n'
        ",,,\n"
        "e@example.com,1,no,,,\n"
        "good@example.com,7,no,\n",
    )
    assert [row.line for row in found if row.problem] == [2, 3, 4, 5, 6, 7, 8]
    assert [row.field for row in found if row.problem] == [
        "email",
        "score",
        "score",
        "consent_sms",
        "custom_fields",
        None,
        None,
    ]
    assert [row.line for row in found if row.body] == [9]


def test_a_cell_may_hold_several_lines(tmp_path: Path) -> None:
    found = rows(tmp_path, 'email,note\na@example.com,"one\ntwo"\nbad,\n')
    assert found[0].body is not None
    assert found[0].body["lead"]["custom_fields"] == {"note": "one\ntwo"}
    assert found[1].line == 4


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encoding_and_delimiter_are_found(tmp_path: Path, encoding: str, delimiter: str) -> None:
    text = delimiter.join(("E-Mail", "Last Name")) + "\n" + delimiter.join(("a@example.com", "Müller")) + "\n"
    (row,) = rows(tmp_path, text, encoding)
    assert row.body is not None
    assert row.body["lead"] == {"email": "a@example.com", "last_name": "Müller"}
    assert row.line == 2


@pytest.mark.parametrize("head", [b"", b"\n \n", b"\x89PNG\0\0\x1a"])
def test_what_is_no_table_is_refused(head: bytes) -> None:
    with pytest.raises(UnreadableFile):
        format_of(head)


def test_no_field_is_suggested_twice_and_a_mapping_says_otherwise() -> None:
    columns = ("Mail", "email", "Firma", "")
    assert suggested(columns) == {"Mail": "email", "email": "custom:email", "Firma": "custom:firma", "": ""}
    assert checked({"email": "email", "Firma": "company"}, columns) == {
        "Mail": "custom:mail",
        "email": "email",
        "Firma": "company",
        "": "",
    }
    assert checked({"Firma": ""}, columns)["Firma"] == ""


@pytest.mark.parametrize(
    ("mapping", "column"),
    [
        ({"Nowhere": "email"}, "Nowhere"),
        ({"a": "colour"}, "a"),
        ({"a": "custom:"}, "a"),
        ({"a": "email", "b": "email"}, "a"),
    ],
)
def test_a_wrong_mapping_names_its_column(mapping: dict[str, str], column: str) -> None:
    with pytest.raises(BadMapping) as wrong:
        checked(mapping, ("a", "b"))
    assert wrong.value.column == column


def test_a_mapping_names_leads_by_email_or_phone_and_by_nothing_else() -> None:
    for field in ("email", "phone"):
        must_name_leads({"a": field, "b": "title"})
    for mapping in ({"a": "external_id", "b": "first_name"}, {"a": "custom:email"}, {}):
        with pytest.raises(NobodyNamed, match="email or phone"):
            must_name_leads(mapping)


def test_a_problem_never_holds_what_stands_in_a_cell(tmp_path: Path) -> None:
    found = rows(
        tmp_path,
        "email,score,consent_sms,timezone\nb@example.com,secret,,\nb@example.com,,secret,\nb@example.com,,,secret\n",
    )
    assert [row.body for row in found] == [None, None, None]
    assert "secret" not in str([row.problem for row in found])


def test_a_broken_letter_spoils_its_own_row_alone() -> None:
    form = format_of(b"email\na@example.com\n")
    found = list(
        rows_of(io.BytesIO(b"email\na@example.com\n\xff\nb@example.com\n"), form, {"email": "email"}, "acme", "import")
    )
    assert [row.body is None for row in found] == [False, True, False]
    assert "utf-8" in str(found[1].problem)


def test_a_rows_id_is_made_of_its_content() -> None:
    body = {"organization_id": "acme", "lead": {"email": "a@example.com"}}
    assert id_of(body) == id_of({**body, "occurred_at": "2026-11-20T09:00:00Z"})
    assert id_of(body) != id_of({**body, "lead": {"email": "b@example.com"}})
