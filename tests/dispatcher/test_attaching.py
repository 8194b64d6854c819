"""Files at the end of a mail: read once, written alike by every attempt, missing ones told."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.attaching import Files, MissingFile
from services.dispatcher.links import addresses_of
from services.dispatcher.message import Outbound, compose, from_document, to_document
from shared.events.dispatch import Attached, DressedStep
from shared.rendering.message import Invited, Rendered
from shared.tokens import Tokens
from tests.dispatcher.making import ORGANIZATION, Store, attached, dressed, step_of

PDF = b"%PDF-1.7\r\n" + bytes(range(256)) * 20
RENDERED = Rendered("Hi", "<p>See the file, caf\u00e9</p>", "See the file\n.\n")


def composed(step: DressedStep, files: dict[str, bytes], rendered: Rendered = RENDERED) -> Outbound:
    addresses = addresses_of(Tokens(["0123456789abcdef0123"]), "in.example", step_of(step))
    now = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    return compose(step, rendered, addresses, "https://t.example/t/u/x", now, files=files)


def parsed(message: Outbound) -> EmailMessage:
    return email.message_from_bytes(message.raw, _class=EmailMessage, policy=email.policy.default)


@given(
    data=st.binary(min_size=1, max_size=3_000),
    name=st.text(
        st.characters(exclude_categories=("C", "Z"), exclude_characters='/\\:*?"<>|'), min_size=1, max_size=60
    ),
    html=st.booleans(),
)
def test_a_file_arrives_byte_for_byte_under_its_name(data: bytes, name: str, html: bool) -> None:
    file = attached(data, f"{name}.pdf")
    rendered = RENDERED if html else Rendered("Hi", None, "Only words\n")
    message = composed(dressed(attachments=[file]), {file.sha256: data}, rendered)
    mail = parsed(message)
    assert mail.get_content_type() == "multipart/mixed"
    [part] = list(mail.iter_attachments())
    assert (part.get_content_type(), part.get_content_disposition()) == ("application/pdf", "attachment")
    assert part.get_payload(decode=True) == data
    assert part.get_filename() == f"{name}.pdf"
    body = mail.get_body(("html",) if html else ("plain",))
    assert body is not None
    assert not mail.defects
    assert message.raw.isascii()
    assert b"\n" not in message.raw.replace(b"\r\n", b"")
    assert max(len(line) for line in message.raw.split(b"\r\n")) <= 998


def test_the_ledger_keeps_hashes_and_a_later_attempt_sends_the_same_bytes() -> None:
    files = [attached(PDF), attached(b"a,b\n1,2\n", "r\u00e9sum\u00e9.csv", "text/csv")]
    data = {files[0].sha256: PDF, files[1].sha256: b"a,b\n1,2\n"}
    message = composed(dressed(attachments=files), data)
    document = to_document(message)
    assert len(document["raw"]) < len(message.raw) - len(PDF)
    assert [each["name"] for each in document["attachments"]] == ["report.pdf", "r\u00e9sum\u00e9.csv"]
    assert from_document(document, data) == message
    assert [part.get_filename() for part in parsed(message).iter_attachments()] == [
        "report.pdf",
        "r\u00e9sum\u00e9.csv",
    ]


def test_an_invitation_stays_an_alternative_of_the_text() -> None:
    at = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    file = attached(PDF)
    rendered = Rendered("Hi", "<p>x</p>", "x\n", Invited("Demo", "", "", at, at))
    mail = parsed(composed(dressed(attachments=[file]), {file.sha256: PDF}, rendered))
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "text/calendar",
        "application/pdf",
    ]


def test_a_message_without_files_is_as_it_was() -> None:
    message = composed(dressed(), {})
    assert parsed(message).get_content_type() == "multipart/alternative"
    assert "attachments" not in to_document(message)


async def test_files_are_read_once_and_the_least_used_make_room() -> None:
    first, second, third = (bytes([n]) * 400 for n in range(3))
    store = Store(first, second, third)
    files = Files(store, most_bytes=1_000)

    async def read(*data: bytes) -> None:
        found = await files.of(ORGANIZATION, [attached(each) for each in data])
        assert sorted(found.values()) == sorted(data)

    await read(first, second)
    await read(first, second)
    assert store.reads == 2
    await read(first)
    await read(third)
    await read(first, third)
    assert store.reads == 3
    await read(second)
    assert store.reads == 4


async def test_a_missing_file_is_named() -> None:
    gone = Attached(name="gone.pdf", content_type="application/pdf", size=1, sha256="0" * 64)
    with pytest.raises(MissingFile, match=r"gone\.pdf"):
        await Files(Store()).of(ORGANIZATION, [gone])
