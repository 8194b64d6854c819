from __future__ import annotations

import zipfile
from hashlib import sha256
from io import BytesIO

import pytest

from services.gateway.file_kinds import BadFile, kind_of
from shared.events.attachment import LARGEST_ATTACHMENT, AddAttachment, RemoveAttachment
from tests.gateway.conftest import NOW, Gateway

ATTACHMENTS = "/api/v1/attachments"
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 10


def archive(*parts: str, **contents: str) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name in parts:
            made.writestr(zipfile.ZipInfo(name), "x")
        for name, text in contents.items():
            made.writestr(zipfile.ZipInfo(name), text)
    return packed.getvalue()


DOCX = archive("[Content_Types].xml", "word/document.xml")


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.pdf", PDF, "application/pdf"),
        ("A.PDF", PDF, "application/pdf"),
        ("a.png", b"\x89PNG\r\n\x1a\n...", "image/png"),
        ("a.jpeg", b"\xff\xd8\xff\xe0...", "image/jpeg"),
        ("a.gif", b"GIF89a...", "image/gif"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        ("a.docx", DOCX, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (
            "a.odt",
            archive(mimetype="application/vnd.oasis.opendocument.text"),
            "application/vnd.oasis.opendocument.text",
        ),
        ("a.txt", "Größe".encode("cp1252"), "text/plain"),
        ("a.csv", "\ufeffa;b\r\n1;2\r\n".encode("utf-16"), "text/csv"),
        ("a.ics", b"BEGIN:VCALENDAR\r\n", "text/calendar"),
    ],
)
def test_kinds_that_mail_programs_show(name: str, data: bytes, kind: str) -> None:
    assert kind_of(name, data) == kind


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.exe", b"MZ\x90\x00"),
        ("a.pdf", b"MZ\x90\x00"),
        ("a.pdf.exe", PDF),
        ("a.txt", b"\x7fELF\x02\x01"),
        ("a.txt", b"#!/bin/sh\n"),
        ("a.html", b"<p>x</p>"),
        ("a.svg", b"<svg/>"),
        ("a.zip", archive("x")),
        ("a.docx", archive("x")),
        ("a.docx", archive("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")),
        ("a.xlsx", DOCX),
        ("a.docx", DOCX[:40]),
        ("a.png", PDF),
        ("a.ics", b"hello"),
        ("a.csv", b"\xff\xfe\x00"),
        ("pdf", PDF),
        ("a.pdf", b""),
    ],
)
def test_what_is_no_such_kind_or_not_what_its_name_says_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(BadFile):
        kind_of(name, data)


async def test_a_file_is_kept_listed_and_downloaded_safely(gateway: Gateway) -> None:
    headers = gateway.key()
    name = "Preisliste – €.pdf"
    sent = await gateway.http.post(ATTACHMENTS, files={"file": (f"C:\\tmp\\{name}", PDF)}, headers=headers)
    assert sent.status_code == 201, sent.text
    made = sent.json()
    assert (made["name"], made["size"], made["content_type"]) == (name, len(PDF), "application/pdf")
    raw = await gateway.http.post(ATTACHMENTS, params={"name": name}, content=PDF, headers=headers)
    assert raw.json()["id"] == made["id"]
    [command, again] = [envelope.message for envelope in gateway.write_side.seen]
    assert isinstance(command, AddAttachment)
    assert command == again
    assert command.file.sha256 == sha256(PDF).hexdigest()
    fields = {"name": name, "content_type": "application/pdf", "size": len(PDF), "sha256": command.file.sha256}
    await gateway.put("attachments", {"_id": made["id"], "added_at": NOW, "removed": False, **fields})
    await gateway.put("attachments", {"_id": "gone", "added_at": NOW, "removed": True, **fields})
    listed = (await gateway.http.get(ATTACHMENTS, headers=headers)).json()["items"]
    assert [each["id"] for each in listed] == [made["id"]]
    got = await gateway.http.get(f"{ATTACHMENTS}/{made['id']}", headers=headers)
    assert got.content == PDF
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]
    disposition = got.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="Preisliste ? ?.pdf"; filename*=UTF-8')
    assert disposition.isascii()
    foreign = await gateway.http.get(f"{ATTACHMENTS}/{made['id']}", headers=gateway.key("other"))
    assert foreign.status_code == 404
    await gateway.http.delete(f"{ATTACHMENTS}/{made['id']}", headers=headers)
    assert gateway.write_side.seen[-1].message == RemoveAttachment(attachment_id=made["id"])


async def test_the_same_key_sends_a_file_once(gateway: Gateway) -> None:
    headers = {**gateway.key(), "Idempotency-Key": "k1"}
    answers = [
        await gateway.http.post(ATTACHMENTS, params={"name": "a.pdf"}, content=PDF, headers=headers) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert len(gateway.write_side.seen) == 1


async def test_what_cannot_be_kept_is_said_and_nothing_is_sent(gateway: Gateway) -> None:
    headers = gateway.key()
    for params, content, code, field in (
        ({}, PDF, "no_name", "name"),
        ({"name": "a.exe"}, b"MZ", "bad_file", "file"),
        ({"name": "a.pdf"}, b"%PDF-" + b"x" * LARGEST_ATTACHMENT, "file_too_large", "file"),
        ({"name": "x" * 160 + ".pdf"}, PDF, "invalid", "name"),
    ):
        answer = await gateway.http.post(ATTACHMENTS, params=params, content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
        assert [each["field"] for each in answer.json()["errors"]] == [field]
    larger = await gateway.http.post(
        ATTACHMENTS, params={"name": "a.pdf"}, content=b"x" * (LARGEST_ATTACHMENT + (65 << 10)), headers=headers
    )
    assert (larger.status_code, larger.json()["code"]) == (413, "too_large")
    empty = await gateway.http.post(ATTACHMENTS, files={"other": ("a.pdf", PDF)}, headers=headers)
    assert (empty.status_code, empty.json()["code"]) == (400, "no_file")
    assert gateway.write_side.seen == []
