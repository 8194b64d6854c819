"""HTML of a message: styles moved inline, sanitised, links rewritten, and a readable text made of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import urlsplit

import css_inline
import nh3

from shared.rendering.errors import BrokenContent

_LAYOUT = {
    "align",
    "valign",
    "width",
    "height",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "dir",
    "lang",
    "role",
    "style",
    "title",
}
_TAGS = (nh3.ALLOWED_TAGS | {"font", "tfoot", "big"}) - {"map", "area"}
_ATTRIBUTES: dict[str, set[str]] = {tag: {*nh3.ALLOWED_ATTRIBUTES.get(tag, ()), *_LAYOUT} for tag in _TAGS}
_ATTRIBUTES["font"] |= {"color", "face", "size"}
_ATTRIBUTES["a"] |= {"target"}
_CLEAN_CONTENT = {"script", "style", "head", "title", "noscript", "iframe", "object", "template", "svg", "math"}
_URL_ATTRIBUTES = ("href", "src", "cite", "background")
_SCHEMES = {"http", "https", "mailto", "tel"}
#: What a browser skips before it reads a scheme, and more: nothing of the kind belongs into an address.
_INVISIBLE = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]+")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_BAD_STYLE = re.compile(
    r"url\s*\(|expression\s*\(|@import|javascript:|behavior\s*:|-moz-binding|position\s*:|\\", re.IGNORECASE
)

_inliner = css_inline.CSSInliner(load_remote_stylesheets=False)

RewriteLink = Callable[[str], str]


def inline_styles(html: str) -> str:
    """The same HTML with its style sheets as style attributes. HTML without any is given back untouched."""
    if "<style" not in html.lower():
        return html
    try:
        return _inliner.inline(html)
    except css_inline.InlineError as error:
        raise BrokenContent(f"the style sheet cannot be read: {error}") from None


class _Sanitiser:
    """Made once, because making one costs far more than using it. One thread at a time, never re-entered."""

    def __init__(self) -> None:
        self._rewrite: RewriteLink = str
        self._cleaner = nh3.Cleaner(
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            clean_content_tags=_CLEAN_CONTENT,
            attribute_filter=self._attribute,
            url_schemes=_SCHEMES,
            link_rel=None,
        )

    def clean(self, html: str, rewrite: RewriteLink) -> str:
        self._rewrite = rewrite
        return self._cleaner.clean(html)

    def _attribute(self, tag: str, name: str, value: str) -> str | None:
        if name == "style":
            return None if _BAD_STYLE.search(value) else value
        if name not in _URL_ATTRIBUTES:
            return value
        address = safe_address(value)
        if address is None:
            return None
        return self._rewrite(address) if tag == "a" and is_web(address) else address


_sanitiser = _Sanitiser()


def sanitise(html: str, rewrite: RewriteLink) -> str:
    """Harmless HTML: no scripts, no foreign schemes, no styles that load or place anything; every web link through
    ``rewrite``.
    """
    return _sanitiser.clean(html, rewrite)


def safe_address(value: str) -> str | None:
    """The address without invisible characters at its ends, or None when it is not one that a message may hold."""
    stripped = _INVISIBLE.sub(lambda found: "" if found.start() == 0 or found.end() == len(value) else found[0], value)
    folded = _INVISIBLE.sub("", stripped)
    scheme = _SCHEME.match(folded)
    if scheme is None:
        return stripped if folded.startswith("#") else None
    return stripped if scheme[1].lower() in _SCHEMES and _SCHEME.match(stripped) else None


def is_web(address: str) -> bool:
    """Whether it leads to a web page."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


_BLOCKS = frozenset(
    [
        "p",
        "div",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "table",
        "tr",
        "blockquote",
        "section",
        "article",
        "header",
        "footer",
        "pre",
        "dl",
        "figure",
        "hr",
    ]
)
_BLANKS = re.compile(r"[ \t\r\f\v\u00a0]+")


class _TextOf(HTMLParser):
    """Collects text, with line ends where blocks end and addresses behind links."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._address: list[str | None] = []
        self._label_from: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.parts.append("\n")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in _BLOCKS:
            self.parts.append("\n\n")
        elif tag == "a":
            self._address.append(dict(attrs).get("href"))
            self._label_from.append(len(self.parts))
        elif tag == "img" and (label := dict(attrs).get("alt")):
            self.parts.append(label)

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.parts.append("\n\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        elif tag == "a" and self._address:
            address, start = self._address.pop(), self._label_from.pop()
            label = "".join(self.parts[start:]).strip()
            if address and is_web(address) and label != address:
                self.parts.append(f" ({address})")

    def handle_data(self, data: str) -> None:
        self.parts.append(data.replace("\n", " "))


def text_of(html: str) -> str:
    """A readable text of sanitised HTML: paragraphs, list items, and where links lead."""
    parser = _TextOf()
    parser.feed(html)
    parser.close()
    lines = [_BLANKS.sub(" ", line).strip() for line in "".join(parser.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
