"""Was it a person? What a single request tells, without memory: its headers.

A verdict is a confidence from 0 to 1 that no person did it, with a reason. From 0.5 on a signal counts for nothing; the
raw hit is kept with its verdict and can be judged again.

Two proxies need care. Google's (and Yahoo's) fetches a picture when the mail is opened, so it stands for a person.
Apple's Mail Privacy Protection fetches every picture of every mail, opened or not, so it tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from crawleruseragents import is_crawler

MAX_USER_AGENT = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """``confidence`` that it was a machine; ``reason`` is a stable word, None when nothing speaks for one."""

    confidence: float
    reason: str | None


PERSON = Verdict(0.0, None)

#: Headers in which browsers and proxies say that nobody asked yet.
_PREFETCH_HEADERS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
#: All that a verdict looks at.
JUDGED_HEADERS = (*_PREFETCH_HEADERS, "user-agent", "accept-language")
_PREFETCH_WORDS = ("prefetch", "prerender", "preview")

#: Image proxies that fetch when the mail is opened.
_PERSONS_PROXIES = (
    ("googleimageproxy", Verdict(0.1, "image_proxy_google")),
    ("yahoomailproxy", Verdict(0.2, "image_proxy_yahoo")),
)
#: Apple's proxy sends exactly this and nothing more.
_APPLE_PRIVACY_AGENT = "mozilla/5.0"
#: Gmail's check of a new mail's pictures poses as this browser, which nobody has used for years.
_GMAIL_SCAN = "chrome/42.0.2311.135 safari/537.36 edge/12.246"
#: Mail filters that follow links; the list of crawlers does not have them.
_SCANNERS = (
    "barracuda", "bitdefender", "cisco-ironport", "cloudmark", "fireeye", "forcepoint", "messagelabs", "mimecast",
    "proofpoint", "sophos", "symantec", "trendmicro", "trend micro", "zscaler",
)  # fmt: skip


def judge(headers: Mapping[str, str], *, click: bool) -> Verdict:
    """The verdict on one GET. ``headers`` have lower-case names."""
    for name in _PREFETCH_HEADERS:
        value = headers.get(name)
        if value and any(word in value.lower() for word in _PREFETCH_WORDS):
            return Verdict(0.95, "prefetch")
    verdict = _judge_agent(headers.get("user-agent", "")[:MAX_USER_AGENT].strip())
    if verdict is not PERSON:
        return verdict
    if click and "accept-language" not in headers:
        return Verdict(0.3, "no_accept_language")  # every browser sends it; some privacy extensions take it out
    return PERSON


def warm_up() -> None:
    """Compiles the patterns of the list of crawlers, which takes a moment that no recipient should wait."""
    is_crawler("")


@lru_cache(maxsize=4_096)
def _judge_agent(agent: str) -> Verdict:
    lowered = agent.lower()
    if not lowered:
        return Verdict(0.7, "no_user_agent")
    for word, verdict in _PERSONS_PROXIES:
        if word in lowered:
            return verdict
    if lowered == _APPLE_PRIVACY_AGENT:
        return Verdict(0.8, "apple_mail_privacy")
    if _GMAIL_SCAN in lowered:
        return Verdict(0.8, "gmail_scan")
    for word in _SCANNERS:
        if word in lowered:
            return Verdict(0.9, "scanner")
    if is_crawler(agent):
        return Verdict(0.95, "crawler")
    return PERSON
