"""The day on which the writer of an automatic answer is back, read by rules in English, German, French and Spanish."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

#: An automatic answer says it near its beginning.
MOST_READ = 4_000
#: A day further off is taken for a mistake of reading.
FURTHEST = timedelta(days=400)
#: Characters between the words that announce a day and the day.
GAP = 30

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar janvier janv enero ene jänner",
            "february feb februar février fevrier févr fevr febrero",
            "march mar märz maerz mrz mars marzo",
            "april apr avril avr abril abr",
            "may mai mayo",
            "june jun juni juin junio",
            "july jul juli juillet juil julio",
            "august aug août aout agosto ago",
            "september sep sept septembre septiembre setiembre",
            "october oct oktober okt octobre octubre",
            "november nov novembre noviembre",
            "december dec dezember dez décembre decembre déc diciembre dic",
        ),
        1,
    )
    for name in names.split()
}
_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "monday montag lundi lunes",
            "tuesday dienstag mardi martes",
            "wednesday mittwoch mercredi miércoles miercoles",
            "thursday donnerstag jeudi jueves",
            "friday freitag vendredi viernes",
            "saturday samstag sonnabend samedi sábado sabado",
            "sunday sonntag dimanche domingo",
        )
    )
    for name in names.split()
}
_MONTH = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_WEEKDAY = "(?:" + "|".join(sorted(_WEEKDAYS, key=len, reverse=True)) + ")"
_YEAR = r"(?:,? ?(?:de |del )?(?P<{0}>20[0-9]{{2}}))?"
_DAY = re.compile(
    r"(?<![0-9./-])(?:"
    r"(?P<iso>20[0-9]{2}-[0-9]{2}-[0-9]{2})"
    r"|(?P<numbers>[0-9]{1,2}(?P<mark>[./-])[0-9]{1,2}(?P=mark)?(?:20[0-9]{2}|[0-9]{2})?)(?![0-9])"
    rf"|(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th|er|\.|º)? ?(?:of |de )?(?P<month>{_MONTH}){_YEAR.format('year')}"
    rf"|\b(?P<month_first>{_MONTH}) ?(?P<day_after>[0-9]{{1,2}})(?:st|nd|rd|th)?(?![0-9]){_YEAR.format('year_after')}"
    rf"|\b(?P<weekday>{_WEEKDAY})\b(?! ?,? ?(?:the |den |dem |le |el )?[0-9]|,? {_MONTH})"
    r"|\b(?P<tomorrow>tomorrow|morgen|demain|mañana)\b"
    r")"
)
#: Words before the day on which the writer is back.
_BACK = re.compile(
    r"\b(?:(?:be |am |i'm )?back|return(?:ing)?|in the office again|again (?:available|reachable)|available again"
    r"|as of|starting"
    r"|zurück|wieder|rückkehr|ab dem|ab"
    r"|de retour|retour|reviens|reviendrai|rentrerai|à partir d[ue]|a partir d[ue]|dès le"
    r"|de vuelta|regreso|regresaré|vuelvo|volveré|reincorporo|reincorporaré|a partir del?)\b"
)
#: German puts the day first: "am 30. November wieder".
_AM = re.compile(r"\bam\b")
_AGAIN = re.compile(r"^[ ,]*(?:bin ich |sind wir )?(?:wieder|zurück)\b")
#: Words that may mean either; most who write them are back on that day.
_UNTIL = re.compile(r"\b(?:until|till)\b")
#: Words before the last day of the absence.
_LAST = re.compile(
    r"\b(?:through|thru|up to and including|bis(?: zum| einschließlich| inklusive| incl\.?)?|jusqu['’]au|hasta)\b"
)
#: Between the first and the last day of an absence.
_TO = re.compile(r"^[ ,]*(?:-|–|—|to|until|till|through|bis(?: zum)?|au|al|hasta)[ ]*(?:the |el |le )?")
_BEFORE_RANGE = re.compile(r"\b(?:from|between|vom|von|du|del|desde)\b")


def return_date(text: str, today: date) -> date | None:
    """The day the writer says to be back; None when no day from tomorrow on is named. Never raises."""
    words = " ".join(text[:MOST_READ].casefold().split())
    for found in (
        *_named(words, today, _BACK),
        *_day_first(words, today),
        *_ranges(words, today),
        *_named(words, today, _UNTIL),
        *(last + timedelta(days=1) for last in _named(words, today, _LAST)),
    ):
        if today < found <= today + FURTHEST:
            return found
    return None


def _ranges(words: str, today: date) -> Iterator[date]:
    """The day after ``from … to …``."""
    for cue in _BEFORE_RANGE.finditer(words):
        first = _DAY.search(words, cue.end(), cue.end() + 80)
        if first is None or first.start() - cue.end() > GAP:
            continue
        between = _TO.match(words[first.end() : first.end() + 20])
        last = _day_at(words, first.end() + between.end(), today) if between is not None else None
        if last is not None:
            yield last[0] + timedelta(days=1)


def _named(words: str, today: date, cues: re.Pattern[str]) -> Iterator[date]:
    """The days that follow these words."""
    for cue in cues.finditer(words):
        found = _day_at(words, cue.end(), today)
        if found is not None:
            yield found[0]


def _day_first(words: str, today: date) -> Iterator[date]:
    """The days after which the writer says to be there again."""
    for cue in _AM.finditer(words):
        found = _day_at(words, cue.end(), today)
        if found is not None and _AGAIN.match(words[found[1] : found[1] + 30]):
            yield found[0]


def _day_at(words: str, start: int, today: date) -> tuple[date, int] | None:
    """The day named within the next words, and where it ends."""
    found = _DAY.search(words, start, start + GAP + 40)
    if found is None or found.start() - start > GAP:
        return None
    try:
        return _read(found, today), found.end()
    except ValueError:  # the 31st of June, month 13
        return None


def _read(found: re.Match[str], today: date) -> date:
    if found["iso"]:
        return date.fromisoformat(found["iso"])
    if found["tomorrow"]:
        return today + timedelta(days=1)
    if found["weekday"]:
        return today + timedelta(days=(_WEEKDAYS[found["weekday"]] - today.weekday() - 1) % 7 + 1)
    if found["numbers"]:
        return _numbers(found["numbers"], found["mark"], today)
    month = _MONTHS[(found["month"] or found["month_first"]).rstrip(".")]
    year = found["year"] or found["year_after"]
    return _in_year(int(found["day"] or found["day_after"]), month, int(year) if year else None, today)


def _numbers(text: str, mark: str, today: date) -> date:
    """Day before month; with slashes also the other way round, and of two days to come the later: better late than in
    an absence.
    """
    parts = [int(part) for part in text.split(mark) if part]
    year = parts[2] + (2000 if parts[2] < 100 else 0) if len(parts) == 3 else None
    found = []
    orders = [(parts[0], parts[1])] if mark == "." else [(parts[0], parts[1]), (parts[1], parts[0])]
    for day, month in orders:
        if 1 <= month <= 12:
            found.append(_in_year(day, month, year, today))
    near = [day for day in found if today < day <= today + timedelta(days=60)]
    return max(near or found)


def _in_year(day: int, month: int, year: int | None, today: date) -> date:
    """Without a year the next such day. Raises ValueError for a day that there is not."""
    if year is not None:
        return date(year, month, day)
    found = date(today.year, month, day)
    return found if found >= today else date(today.year + 1, month, day)
