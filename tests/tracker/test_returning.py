"""Return dates in automatic answers, as people's programs write them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tracker.inbound import Address, signals_of
from services.tracker.returning import return_date
from shared.events.engagement import RecordSignal
from tests.tracker.conftest import ENROLLMENT

#: A Friday.
TODAY = date(2026, 11, 20)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        # English
        ("I am out of the office and will be back on December 1st, 2026.", (2026, 12, 1)),
        ("I'll be back on Monday, 30 November.", (2026, 11, 30)),
        ("Thank you for your mail. I am on vacation, returning on Dec 7.", (2026, 12, 7)),
        ("I will return to the office on 2026-12-02.", (2026, 12, 2)),
        ("I am away until January 4th.", (2027, 1, 4)),
        ("Out of office until 12/14/2026, please call reception.", (2026, 12, 14)),
        ("I am on leave through December 4.", (2026, 12, 5)),
        ("I'm out of the office from November 18 to November 27, 2026.", (2026, 11, 28)),
        ("I will be out of the office from 18/11/2026 - 27/11/2026", (2026, 11, 28)),
        ("I'm travelling and will be back on Tuesday.", (2026, 11, 24)),
        ("I'll be back on Friday", (2026, 11, 27)),
        ("I am sick today and will be back tomorrow.", (2026, 11, 21)),
        ("Back in the office 1 Dec", (2026, 12, 1)),
        ("I am out of the office until 3rd of December with limited access to email", (2026, 12, 3)),
        # German
        ("Ich bin ab dem 1. Dezember wieder im Büro.", (2026, 12, 1)),
        ("Ich bin am 30.11.2026 wieder für Sie da.", (2026, 11, 30)),
        ("Ich bin bis zum 4.12. nicht im Büro.", (2026, 12, 5)),
        ("Ich bin bis einschließlich 4. Dezember 2026 im Urlaub.", (2026, 12, 5)),
        ("Vom 16.11. bis 27.11.2026 bin ich abwesend.", (2026, 11, 28)),
        (
            "Ich bin vom 16. November bis zum 27. November im Urlaub und ab Montag, den 30. November zurück.",
            (2026, 11, 30),
        ),
        ("Ab Montag, den 30. November bin ich wieder erreichbar.", (2026, 11, 30)),
        ("Ich bin wieder am Mittwoch erreichbar", (2026, 11, 25)),
        # French
        ("Je suis absent et serai de retour le 1er décembre 2026.", (2026, 12, 1)),
        ("Je suis en congés jusqu'au 4 décembre inclus.", (2026, 12, 5)),
        ("Absente du 16 novembre au 27 novembre 2026, merci.", (2026, 11, 28)),
        ("Je serai de retour à partir du lundi 30 novembre.", (2026, 11, 30)),
        ("Je suis absent jusqu’au 04/12/2026.", (2026, 12, 5)),
        # Spanish
        ("Estoy fuera de la oficina. Volveré el 1 de diciembre.", (2026, 12, 1)),
        ("Estaré ausente hasta el 4 de diciembre de 2026.", (2026, 12, 5)),
        ("Estaré de vuelta el lunes 30 de noviembre.", (2026, 11, 30)),
        ("Estoy de vacaciones del 16 de noviembre al 27 de noviembre.", (2026, 11, 28)),
        ("Regreso el miércoles.", (2026, 11, 25)),
    ],
)
def test_a_day_of_return_is_read(text: str, day: tuple[int, int, int]) -> None:
    assert return_date(text, TODAY) == date(*day)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I am out of the office and will answer as soon as I am back.",
        "I was away until November 18, 2026.",
        "Back on June 31, 2026.",
        "Unser Büro ist bis auf Weiteres geschlossen.",
        "Your ticket 2026-12-01 was opened.",
        "Version 1.12 is back.",
        "Back on 99/99/2026",
        "Back on 2029-01-01",
        "Call me back at +49 30 1234567.",
    ],
)
def test_no_day_is_read_where_none_to_come_is_named(text: str) -> None:
    assert return_date(text, TODAY) is None


def test_of_two_readings_the_later_is_taken() -> None:
    assert return_date("I will be back on 12/01/2027", date(2026, 12, 20)) == date(2027, 1, 12)
    assert return_date("I will be back on 1/2", date(2026, 12, 25)) == date(2027, 2, 1)
    assert return_date("I will be back on 13/1", date(2026, 12, 25)) == date(2027, 1, 13)


PIECES = ["back", "until", "bis", "31.", "13.13.", "2026-99-99", "juin", "30", "/", "-", "au", "from", "monday"]


@given(st.text(max_size=300) | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_it_never_raises_and_never_looks_back(text: str) -> None:
    found = return_date(text, TODAY)
    assert found is None or found > TODAY


def test_an_automatic_answer_hands_the_day_over_and_a_persons_does_not() -> None:
    address = Address("reply", ENROLLMENT, 1)
    for auto in (True, False):
        mail = EmailMessage()
        mail["Subject"] = "Re: Hello"
        if auto:
            mail["Auto-Submitted"] = "auto-replied"
        mail.set_content("I am out of the office and will be back on 2027-01-15.")
        at = datetime(2027, 1, 1, tzinfo=UTC)
        [envelope] = signals_of(mail.as_bytes(), address, at, empty_sender=False)
        signal = envelope.message
        assert isinstance(signal, RecordSignal)
        assert (signal.auto_reply, signal.returns_on) == (auto, date(2027, 1, 15) if auto else None)
