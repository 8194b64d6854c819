"""Reading a mail that anyone may have written: headers, parts and text, whatever they look like.

Python's newer mail policy raises on some hostile headers, so the old one is used and every decoding is guarded.
"""

from __future__ import annotations

import contextlib
import email
import email.header
import email.policy
from collections.abc import Iterator
from email.errors import MessageError
from email.message import Message
from html.parser import HTMLParser

#: More parts than any real mail has.
MAX_PARTS = 200
#: Longer headers are cut.
MAX_HEADER = 8_000
#: More text than any reply has; what follows is quoted anyway.
MAX_TEXT = 100_000

#: What decoding of hostile input raises.
_BAD_INPUT = (LookupError, ValueError, MessageError, AssertionError, AttributeError, TypeError, RecursionError)


def parse(raw: bytes) -> Message:
    """The mail as a tree. Raises RecursionError for one that is nested beyond reason."""
    return email.message_from_bytes(raw, policy=email.policy.compat32)


def header(message: Message, name: str) -> str:
    """A header as text, decoded as well as it goes, unfolded; "" when there is none."""
    wanted = name.lower()
    # The raw items keep bytes beyond ASCII as surrogates; most senders of those mean UTF-8.
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == wanted), "")
    text = raw[:MAX_HEADER].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    with contextlib.suppress(*_BAD_INPUT):
        text = str(email.header.make_header(email.header.decode_header(text)))
    return " ".join(_clean(text).split())


def parts_of(message: Message) -> Iterator[Message]:
    """The leaves of the tree in order, at most ``MAX_PARTS``; embedded messages count as leaves."""
    stack = [message]
    seen = 0
    while stack and seen < MAX_PARTS:
        part = stack.pop()
        seen += 1
        payload = part.get_payload()
        if isinstance(payload, list) and part.get_content_maintype() == "multipart":
            stack.extend(child for child in reversed(payload) if isinstance(child, Message))
        else:
            yield part


def text_of(part: Message) -> str:
    """The decoded text of a leaf, cut at ``MAX_TEXT``; "" when it cannot be decoded."""
    try:
        payload = part.get_payload(decode=True)
    except _BAD_INPUT:
        return ""
    if not isinstance(payload, bytes):
        return ""
    payload = payload[: 4 * MAX_TEXT]
    for charset in (_charset(part), "utf-8", "latin-1"):
        try:
            return _clean(payload.decode(charset))[:MAX_TEXT]
        except (LookupError, ValueError):
            continue
    return ""


def body_text(message: Message) -> str:
    """What the writer wrote: the first text part, else the first HTML part as text; attachments are not read."""
    html = ""
    for part in parts_of(message):
        if part.get_content_disposition() == "attachment":
            continue
        kind = part.get_content_type()
        if kind == "text/plain":
            text = text_of(part)
            if text.strip():
                return text
        elif kind == "text/html" and not html:
            html = text_of(part)
    return html_text(html) if html else ""


def html_text(html: str) -> str:
    """HTML as plain text, without quoted messages, styles and scripts."""
    reader = _TextReader()
    try:
        reader.feed(html)
        reader.close()
    except (AssertionError, ValueError, RecursionError):
        pass  # what was read so far is worth more than nothing
    lines = [" ".join(line.split()) for line in "".join(reader.pieces).splitlines()]
    return "\n".join(line for index, line in enumerate(lines) if line or (index and lines[index - 1])).strip()


class _TextReader(HTMLParser):
    _BLOCKS = frozenset({"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "hr"})
    _HIDDEN = frozenset({"style", "script", "head", "title", "blockquote"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in self._HIDDEN:
            self._hidden += 1
        if tag in self._BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN and self._hidden:
            self._hidden -= 1
        if tag in self._BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def _charset(part: Message) -> str:
    try:
        charset = part.get_content_charset("utf-8")
    except _BAD_INPUT:
        return "utf-8"
    return charset if "\0" not in charset else "utf-8"


def _clean(text: str) -> str:
    """Without lone surrogates and NUL, which no database takes."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
