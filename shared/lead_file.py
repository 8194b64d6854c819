"""A file of leads: how it is written, which column is which field, and each row as a funnel would send it.

Known columns are named like the fields of a lead, in any case, or by a usual other name; a mapping may say it
otherwise. Problems name columns and never hold what stands in a cell: it may be personal.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import orjson
from pydantic import ValidationError

from shared.events.lead import LeadBody, LeadCreated
from shared.events.places import reasons_of
from shared.identity import InvalidIdentity, normalise_email, normalise_phone
from shared.lead_csv import unguarded

#: Bytes looked at to find out how a file is written.
HEAD_BYTES = 64 * 1024
DELIMITERS = (",", ";", "\t", "|")
#: In a mapping: this column is left out.
SKIP = ""
#: In a mapping: this column is a custom field of the name that follows.
CUSTOM = "custom:"
CONSENTS = ("consent_email", "consent_sms", "consent_whatsapp", "consent_open_tracking")
#: What a column may be mapped to, besides ``SKIP`` and ``CUSTOM`` with a name.
FIELDS = (*(name for name in LeadBody.model_fields if name != "consent"), *CONSENTS)

_TRUE, _FALSE = frozenset({"true", "yes", "1", "y", "on"}), frozenset({"false", "no", "0", "n", "off"})
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Fields that a row needs one of: what names the lead, and lets it be reached.
IDENTIFYING = ("email", "phone")
#: What stands for a letter that could not be read.
_BROKEN = "\ufffd"
_OTHER_NAMES = {
    "e_mail": "email",
    "mail": "email",
    "email_address": "email",
    "telephone": "phone",
    "mobile": "phone",
    "mobile_phone": "phone",
    "phone_number": "phone",
    "first": "first_name",
    "given_name": "first_name",
    "firstname": "first_name",
    "last": "last_name",
    "surname": "last_name",
    "family_name": "last_name",
    "lastname": "last_name",
    "organization": "company",
    "organisation": "company",
    "company_name": "company",
    "job_title": "title",
    "position": "title",
    "time_zone": "timezone",
    "language": "locale",
    "lead_source": "source",
    "lead_status": "status",
    "lead_score": "score",
    "crm_id": "external_id",
}


class UnreadableFile(Exception):
    """The file is no table of text. One line."""


class BadMapping(Exception):
    """A mapping names what is no field. ``column`` is at fault."""

    def __init__(self, column: str, problem: str) -> None:
        self.column = column
        self.problem = problem
        super().__init__(f"{column}: {problem}")


class NobodyNamed(Exception):
    """No column says who a lead is: every row would be refused. One line."""

    def __init__(self) -> None:
        super().__init__(f"maps no column to {' or '.join(IDENTIFYING)}: one of them must say who each lead is")


class _BadCell(Exception):
    """A cell does not hold what its field is for."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(f"{field}: {problem}")


@dataclass(frozen=True, slots=True)
class Format:
    """How a file is written. ``encoding`` is a name that Python knows."""

    encoding: str
    delimiter: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file: a body as a funnel sends it, or what is wrong with it. Lines count from 1, the header's.
    ``field`` is the first at fault; None where the row cannot be read as a whole."""

    line: int
    body: dict[str, Any] | None
    problem: str | None = None
    field: str | None = None


def format_of(head: bytes) -> Format:
    """How a file that begins with ``head`` is written. Raises UnreadableFile when it is empty or no text."""
    encoding = _encoding_of(head)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    if "\0" in text:
        raise UnreadableFile("this is no file of text")
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise UnreadableFile("the file is empty")
    delimiter = max(DELIMITERS, key=first.count)
    try:
        columns = next(row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
    except csv.Error as error:
        raise UnreadableFile(f"the header cannot be read: {error}") from None
    return Format(encoding, delimiter, tuple(column.strip() for column in columns))


def suggested(columns: Sequence[str]) -> dict[str, str]:
    """What each column most likely is: a field, else a custom field of its own name. No field is suggested twice."""
    mapping: dict[str, str] = {}
    for column in columns:
        name = column.strip().lower()
        word = name.replace(" ", "_").replace("-", "_").replace(".", "_")
        field = word if word in FIELDS else _OTHER_NAMES.get(word)
        if not name:
            mapping[column] = SKIP
        elif field is not None and field not in mapping.values():
            mapping[column] = field
        else:
            mapping[column] = CUSTOM + name
    return mapping


def checked(mapping: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """The mapping for every column; those it does not name are taken as suggested. Raises BadMapping."""
    whole = suggested(columns)
    for column, target in mapping.items():
        if column not in whole:
            raise BadMapping(column, "is no column of the file")
        if target != SKIP and target not in FIELDS and not (target.startswith(CUSTOM) and target != CUSTOM):
            raise BadMapping(column, f"must be one of {', '.join(FIELDS)}, custom:<name>, or empty")
    given = set(mapping.values())
    for column, target in whole.items():  # a field that is given by hand is suggested for no other column
        if column not in mapping and target in given and target in FIELDS:
            whole[column] = CUSTOM + column.strip().lower()
    whole.update(mapping)
    taken = [target for target in whole.values() if target in FIELDS and target != "custom_fields"]
    for target in taken:
        if taken.count(target) > 1:
            column = next(name for name, known in whole.items() if known == target)
            raise BadMapping(column, f"{target} is given twice")
    return whole


def must_name_leads(mapping: Mapping[str, str]) -> None:
    """Raises NobodyNamed for a whole mapping by which no row can become a lead."""
    if not set(IDENTIFYING) & set(mapping.values()):
        raise NobodyNamed


def rows_of(
    source: Path | BinaryIO, form: Format, mapping: Mapping[str, str], organization_id: str, funnel_id: str
) -> Iterator[Row]:
    """Every row of the file, checked as the write side will check it. Raises OSError."""
    if isinstance(source, Path):
        with source.open("rb") as opened:
            yield from rows_of(opened, form, mapping, organization_id, funnel_id)
        return
    lines = io.TextIOWrapper(source, form.encoding, errors="replace", newline="")
    reader = csv.DictReader(lines, fieldnames=form.columns, restkey="", restval="", delimiter=form.delimiter)
    header = True
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            lines.detach()
            return
        except csv.Error as error:
            yield Row(reader.line_num, None, str(error))
            continue
        if header:
            header = False
            continue
        if any(_BROKEN in cell for cell in cells.values() if isinstance(cell, str)):
            yield Row(reader.line_num, None, f"has letters that are not written in {form.encoding}")
            continue
        yield _row(reader.line_num, cells, mapping, organization_id, funnel_id)


def id_of(body: Mapping[str, Any]) -> str:
    """A message id made of the content: the same row again makes nothing twice."""
    known = {key: value for key, value in body.items() if key != "occurred_at"}
    return f"import-{hashlib.blake2b(orjson.dumps(known, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()}"


def _encoding_of(head: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"  # what spreadsheets write where they do not write UTF-8
    return "utf-8"


def _row(line: int, cells: dict[str, Any], mapping: Mapping[str, str], organization_id: str, funnel_id: str) -> Row:
    if isinstance(cells.get(""), list):
        return Row(line, None, f"has {len(cells[''])} cells more than the header")
    try:
        lead = _lead(cells, mapping)
        body = {"organization_id": organization_id, "funnel_id": funnel_id, "lead": lead}
        LeadCreated.model_validate(body)
        if email := lead.get("email"):
            normalise_email(email)
        if phone := lead.get("phone"):
            normalise_phone(phone)
        if zone := lead.get("timezone"):
            _known_zone(zone)
    except ValidationError as error:
        found = [(each["field"].removeprefix("lead."), each["problem"]) for each in reasons_of(error)]
        return Row(
            line, None, "; ".join(f"{field or 'row'}: {problem}" for field, problem in found), found[0][0] or None
        )
    except InvalidIdentity as error:
        return Row(line, None, str(error), error.kind)
    except _BadCell as error:
        return Row(line, None, str(error), error.field)
    return Row(line, body)


def _lead(cells: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """Raises _BadCell for a cell that is no number, no JSON or no yes or no."""
    lead: dict[str, Any] = {}
    consent: dict[str, bool] = {}
    custom: dict[str, Any] = {}
    for column, cell in cells.items():
        field, value = mapping.get(column, SKIP), unguarded((cell or "").strip())
        if field == SKIP or not value:
            continue
        if field.startswith(CUSTOM):
            custom[field.removeprefix(CUSTOM)] = value
        elif field == "tags":
            lead["tags"] = [tag.strip() for tag in value.split(";") if tag.strip()]
        elif field == "score":
            lead["score"] = _number(field, value)
        elif field in CONSENTS:
            consent[field.removeprefix("consent_")] = _yes(field, value)
        elif field == "custom_fields":
            custom |= _object(value)
        else:
            lead[field] = value
    if consent:
        lead["consent"] = consent
    if custom:
        lead["custom_fields"] = custom
    return lead


def _known_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError
        raise _BadCell("timezone", "must be a name of the tz database") from None


def _yes(name: str, value: str) -> bool:
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise _BadCell(name, "is neither yes nor no")


def _number(name: str, value: str) -> int:
    try:
        if value.isdecimal():
            return int(value)
    except ValueError:  # thousands of digits
        pass
    raise _BadCell(name, "is not a whole number")


def _object(value: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or lists in lists in lists
        raise _BadCell("custom_fields", "is no JSON object") from None
    if isinstance(found, dict):
        return found
    raise _BadCell("custom_fields", "is no JSON object")
