"""Mails as they come: reports, absence notes, replies, and the broken and the hostile."""

from __future__ import annotations

import base64

from tests.tracker.conftest import mail


def _lines(*lines: str) -> bytes:
    return "\r\n".join(lines).encode() + b"\r\n"


def dsn(action: str, status: str) -> bytes:
    """A delivery report (RFC 3464)."""
    recipient = ["Final-Recipient: rfc822; ada@example.com", f"Action: {action}"]
    if status:
        recipient.append(f"Status: {status}")
    return _lines(
        "From: MAILER-DAEMON@mx.example.com",
        "To: bounce@in.demo.example",
        "Subject: Delivery report",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"',
        "",
        "--b1",
        "Content-Type: text/plain",
        "",
        "What became of your message.",
        "--b1",
        "Content-Type: message/delivery-status",
        "",
        "Reporting-MTA: dns; mx.example.com",
        "Arrival-Date: Mon, 2 Mar 2026 09:00:00 +0000",
        "",
        *recipient,
        "Diagnostic-Code: smtp; 550 no such user",
        "",
        "--b1",
        "Content-Type: message/rfc822",
        "",
        "Subject: Welcome 4.1.1 2.0.0",
        "",
        "Hello",
        "--b1--",
    )


def arf(kind: str) -> bytes:
    """A complaint (RFC 5965)."""
    return _lines(
        "From: feedback@isp.example",
        "To: bounce@in.demo.example",
        "Subject: FW: Welcome",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b1"',
        "",
        "--b1",
        "Content-Type: text/plain",
        "",
        "This is an email abuse report.",
        "--b1",
        "Content-Type: message/feedback-report",
        "",
        f"Feedback-Type: {kind}",
        "User-Agent: ISP/1.0",
        "Version: 1",
        "",
        "--b1",
        "Content-Type: message/rfc822",
        "",
        "Subject: Welcome",
        "",
        "Hello",
        "--b1--",
    )


AUTO_REPLIES = [
    mail("I am away.", headers={"Auto-Submitted": "auto-replied"}),
    mail("I am away.", headers={"Auto-Submitted": "auto-generated (vacation)"}),
    mail("I am away.", headers={"Precedence": "auto_reply"}),
    mail("I am away.", headers={"X-Autoreply": "yes"}),
    mail("I am away.", headers={"Subject": "Out of Office: Welcome"}),
    mail("Back on Monday.", headers={"Subject": "Automatic reply: Welcome"}),
    mail("Ich bin bis Montag weg.", headers={"Subject": "Abwesenheitsnotiz: Welcome"}),
    mail("Ich bin weg.", headers={"Subject": "=?utf-8?q?Automatische_Antwort=3A_Welcome?="}),
    mail(
        "Je suis absent.",
        headers={"Subject": "=?utf-8?b?" + base64.b64encode("Réponse automatique : Welcome".encode()).decode() + "?="},
    ),
    mail("Estoy fuera.", headers={"Subject": "Respuesta automática: Welcome"}),
    mail("Stop", headers={"Auto-Submitted": "auto-replied"}),
]

REPLIES = [
    (
        mail("Yes please.\r\n\r\nOn Mon, 2 Mar 2026 at 09:00, Tendril <a@b.example> wrote:\r\n> Welcome\r\n> Bye"),
        "Yes please.",
    ),
    (mail("Ja gern.\r\n\r\nAm 02.03.2026 um 09:00 schrieb Tendril <a@b.example>:\r\n> Hallo"), "Ja gern."),
    (mail("> only\r\n> quoted"), "> only\n> quoted"),
    (mail("<p>Sounds <b>good</b></p><blockquote>Welcome</blockquote>", kind="text/html"), "Sounds good"),
    (mail("<style>p{}</style><div>Hi</div><div>there</div>", kind="text/html"), "Hi\n\nthere"),
    (mail("Gr=C3=BC=C3=9Fe", headers={"Content-Transfer-Encoding": "quoted-printable"}), "Grüße"),
    (mail(base64.b64encode("Zażółć".encode()).decode(), headers={"Content-Transfer-Encoding": "base64"}), "Zażółć"),
]

ODD_BOUNCES = [
    (
        mail("550 5.1.1 <ada@example.com>: user unknown", headers={"From": "MAILER-DAEMON@mx.example.com"}),
        "hard",
        "5.1.1",
    ),
    (mail("host said: 452 4.2.2 over quota", headers={"From": "Mail Delivery System <x@mx.example>"}), "soft", "4.2.2"),
    (mail("It could not be delivered: 554 refused", headers={"From": "postmaster@mx.example"}), "hard", None),
    (mail("Something went wrong.", headers={"From": "postmaster@mx.example"}), "soft", None),
]

HOSTILE = [
    b"",
    b"\r\n",
    b"\x00" * 1_000,
    b"\xff\xfe" * 500,
    b"Subject: \xff\xfe\r\n\r\n\xff",
    b"no header at all",
    b"Content-Type: multipart/mixed\r\n\r\nwithout a boundary",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n--b",
    b"Content-Type: text/plain; charset=nonsense\r\n\r\nhi",
    b"Content-Type: text/plain; charset=rot13\r\n\r\nhi",
    b"Content-Type: text/plain; charset=unicode_escape\r\n\r\n\\ud800",
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n====\xff",
    b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n\xff\r\nend",
    b"Subject: =?utf-8?b?" + b"A" * 10_000 + b"?=\r\n\r\nhi",
    b"Subject: =?idna?q?" + b"=41" * 2_000 + b"?=\r\n\r\nhi",
    b"Subject: " + b"=?utf-8?q?a?= " * 5_000 + b"\r\n\r\nhi",
    b"From: " + b"(" * 5_000 + b"\r\n\r\nhi",
    b"Content-Type: text/plain; " + b"a*0*=x; " * 2_000 + b"\r\n\r\nhi",
    b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(2_000)),
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5_000,
    b"".join(b"Content-Type: message/rfc822\r\n\r\n" for _ in range(3_000)),
    b"Content-Type: text/html\r\n\r\n" + b"<div>" * 50_000,
    b"Content-Type: text/html\r\n\r\n<![CDATA[<!DOCTYPE<!<!--<?",
    b"Content-Type: text/plain\r\n\r\n" + b">" * 50_000,
    b"Content-Type: text/plain\r\n\r\n" + b"On " * 20_000 + b"wrote:",
    (
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n"
        b"Content-Type: message/delivery-status\r\n\r\n\xff: \xff\r\n\r\nAction\r\n\r\n--b--"
    ),
    b"Content-Type: message/delivery-status\r\n\r\nnothing",
    b"Content-Type: message/feedback-report\r\n\r\nnothing",
]
