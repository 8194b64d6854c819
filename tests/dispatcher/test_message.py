"""Headers, MIME and addresses."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest

from services.dispatcher.errors import BadAddress
from services.dispatcher.links import addresses_of
from services.dispatcher.message import Outbound, compose, from_document, mail_address, to_document
from shared.events.dispatch import Sender
from shared.rendering.errors import BrokenContent
from shared.rendering.message import Rendered
from shared.tokens import Tokens
from tests.dispatcher.making import dressed, step_of

TOKENS = Tokens(["0123456789abcdef0123"])
UNSUBSCRIBE = "https://t.example/t/u/" + "x" * 220


def composed(subject: str = "Hi", html: str | None = "<p>é</p>", text: str = "é\n", **changes: Any) -> Outbound:
    step = dressed(**changes)
    addresses = addresses_of(TOKENS, "in.example", step_of(step))
    return compose(
        step, Rendered(subject, html, text), addresses, UNSUBSCRIBE, datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
    )


def parsed(message: Outbound) -> EmailMessage:
    return email.message_from_bytes(message.raw, _class=EmailMessage, policy=email.policy.default)


def test_headers() -> None:
    message = composed("Größe")
    mail = parsed(message)
    assert mail["Subject"] == "Größe"
    assert mail["From"] == "Grace Hopper <grace@sender.example>"
    assert mail["To"] == "ada@example.com"
    assert mail["Message-ID"] == message.message_id
    assert mail["Date"] == "Fri, 20 Nov 2026 09:00:00 +0000"
    assert mail["Reply-To"].startswith("reply+")
    assert mail["List-Unsubscribe"].replace("\n", "").strip() == f"<{UNSUBSCRIBE}>"
    assert f"<{UNSUBSCRIBE}>".encode() in message.raw
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "Auto-Submitted" not in mail
    assert "Precedence" not in mail
    assert TOKENS.read_address(message.envelope_sender.partition("+")[2].partition("@")[0]) is not None
    token = message.message_id.strip("<>").partition("@")[0].partition(".")[2]
    assert TOKENS.read_address(token.upper()) is not None


def test_parts_and_line_ends() -> None:
    message = composed(text="a\nb é\n")
    mail = parsed(message)
    body, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert body is not None
    assert html is not None
    assert body.get_content().splitlines() == ["a", "b é"]
    assert html.get_content().strip() == "<p>é</p>"
    assert b"\n" not in message.raw.replace(b"\r\n", b"")
    assert max(len(line) for line in message.raw.split(b"\r\n")) <= 998
    assert message.raw.isascii()


def test_text_only() -> None:
    assert parsed(composed(html=None)).get_content_type() == "text/plain"


def test_very_long_lines_are_folded() -> None:
    message = composed(html="<p>" + "x" * 5000 + "</p>", text="y" * 5000)
    assert max(len(line) for line in message.raw.split(b"\r\n")) <= 998
    html = parsed(message).get_body(("html",))
    assert html is not None
    assert "x" * 5000 in html.get_content()


def test_a_thread_names_what_it_answers() -> None:
    mail = parsed(composed(thread=["<a@x>", "<b@x>", "not an id\r\nBcc: x"]))
    assert mail["In-Reply-To"] == "<b@x>"
    assert mail["References"] == "<a@x> <b@x>"
    long = parsed(composed(thread=[f"<{n}@x>" for n in range(100)]))
    assert len(long["References"].split()) == 20
    assert long["References"].startswith("<0@x>")


@pytest.mark.parametrize("name", ["Zoë Größe", 'Grace "Amazing" Hopper', "Hopper, Grace", "李雷", ""])
def test_display_names(name: str) -> None:
    message = composed(sender=Sender(sender_id="s", name=name, email="grace@sender.example"))
    [address] = parsed(message)["From"].addresses
    assert (address.display_name, address.addr_spec) == (name, "grace@sender.example")


@pytest.mark.parametrize("evil", ["x\r\nBcc: y@z.example", "x\nBcc: y", "x\x00", "x\u2028y"])
def test_header_values_refuse_line_breaks(evil: str) -> None:
    with pytest.raises(BrokenContent):
        composed(subject=evil)
    with pytest.raises(BrokenContent):
        composed(sender=Sender(sender_id="s", name=evil, email="grace@sender.example"))
    with pytest.raises(BrokenContent):
        composed(sender=Sender(sender_id="s", name="x", email=f"{evil}@sender.example"))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "@y.example",
        "x@",
        "a b@y.example",
        "a@y.example\r\nRCPT TO:<z@z>",
        "a>@y.example",
        "a@y..example",
        "a,b@y.example",
        "x" * 65 + "@y.example",
    ],
)
def test_bad_addresses(address: str) -> None:
    with pytest.raises(BadAddress):
        composed(address=address)


@pytest.mark.parametrize(
    ("address", "expected", "utf8"),
    [
        ("Ada@Example.com", "Ada@Example.com", False),
        ("ada@exämple.com", "ada@xn--exmple-cua.com", False),
        ("ädä@example.com", "ädä@example.com", True),
    ],
)
def test_good_addresses(address: str, expected: str, utf8: bool) -> None:
    assert mail_address(address) == expected
    assert composed(address=address).needs_utf8 is utf8


def test_the_stored_form_gives_the_same_bytes() -> None:
    message = composed()
    assert from_document(to_document(message)) == message
