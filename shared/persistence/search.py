"""Search by prefix: every word of a value is kept with all its beginnings; a query is one look into an index."""

from __future__ import annotations

import re
import unicodedata

LONGEST_PREFIX = 20  #: longer words are found by their first 20 letters or as a whole
MOST_WORDS = 8  #: of one value; names are short, and a hostile one must not fill the index
_SEPARATORS = re.compile(r"[^\w]+")


def normalised(text: str) -> str:
    """Case-folded, without accents, trimmed."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).strip()


def tokens(text: object) -> list[str]:
    """The sorted prefixes of the words of a value, and the value as a whole (e-mails are found by both); nothing for
    None.
    """
    if not isinstance(text, str):
        return []
    whole = normalised(text)
    found = {whole[:320]} if whole else set()
    for word in _SEPARATORS.split(whole)[:MOST_WORDS]:
        found.update(word[:length] for length in range(1, min(len(word), LONGEST_PREFIX) + 1))
    return sorted(found)


def query_terms(text: str) -> list[str]:
    """What must all be found for a query: the whole of it when it is an address or number, else each of its words, the
    longest first. An index is entered by the first, and the longest word is most likely the rarest.
    """
    whole = normalised(text)
    if not whole:
        return []
    if "@" in whole:
        return [whole[:320]]
    words = {word[:LONGEST_PREFIX] for word in _SEPARATORS.split(whole)[:MOST_WORDS] if word}
    return sorted(words, key=lambda word: (-len(word), word))
