"""A file of leads: good rows become what a funnel would send, bad ones are told with their line."""

from __future__ import annotations

from pathlib import Path

from tendril.cli.leads import Row, rows_of


def rows(tmp_path: Path, text: str) -> list[Row]:
    file = tmp_path / "leads.csv"
    file.write_text(text, encoding="utf-8")
    return list(rows_of(file, "acme", "import"))


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
    assert [row.line for row in found if row.body] == [9]


def test_a_cell_may_hold_several_lines(tmp_path: Path) -> None:
    found = rows(tmp_path, 'email,note\na@example.com,"one\ntwo"\nbad,\n')
    assert found[0].body is not None
    assert found[0].body["lead"]["custom_fields"] == {"note": "one\ntwo"}
    assert found[1].line == 4
