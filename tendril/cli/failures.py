"""Which errors are told in one line: ours, and those that mean a server cannot be reached."""

from __future__ import annotations

OURS = ("shared.", "services.", "tendril.")
#: Errors of libraries by name, so that none of them is loaded only to be recognised.
OF_SERVERS = frozenset(
    {
        "pymongo.errors.PyMongoError",
        "aiormq.exceptions.AMQPError",
        "httpx.HTTPError",
        "httpx.TransportError",
    }
)


def one_line(error: BaseException) -> str | None:
    """The text of an error that a person can mend; None for a fault of the program, which deserves its traceback."""
    if isinstance(error, BaseExceptionGroup):
        lines = [one_line(each) for each in error.exceptions]
        return None if None in lines else "; ".join(dict.fromkeys(line for line in lines if line))
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    ours = type(error).__module__.startswith(OURS)
    if not (ours or names & OF_SERVERS or isinstance(error, OSError)):
        return None
    text = str(error)
    if "pymongo.errors.PyMongoError" in names:
        text = f"MongoDB: {text.split(' (configured', maxsplit=1)[0].split(', Timeout:', maxsplit=1)[0]}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"  # the end of a log: its last line says most
