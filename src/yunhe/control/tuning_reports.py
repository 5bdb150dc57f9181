"""What a centre's report of an adaptation amounts to. Pure: whatever an agent writes, nothing here fails."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from yunhe.adapt.adaptation import FINAL_PHASES, Ended, Entry, TuningReport, read_entry
from yunhe.core.errors import InvalidRequest
from yunhe.store.adaptations import Adaptation, StoredEntry

#: Of one line of a journal; that of a whole search's candidates takes some 100 kB.
ENTRY_CHARS_MAX: Final = 2 * 1024 * 1024
TEXT_CHARS_MAX: Final = 1000
#: Ends of what calendars and people make sense of.
_UNIX_S_MAX: Final = 253_402_300_800.0
_USED_S_MAX: Final = 1e9


@dataclass(frozen=True, slots=True)
class Taken:
    """A report, taken as far as it makes sense."""

    adaptation: Adaptation
    #: New ones, following those that are stored.
    entries: tuple[StoredEntry, ...] = ()
    #: The last entry of the journal, when it is among them.
    ended: Ended | None = None
    #: What of it was refused, and why; empty when nothing was.
    refused: str = ""


def read_report(text: str) -> TuningReport:
    """A report of an agent. Raises InvalidRequest for anything else."""
    try:
        return msgspec.json.decode(text, type=TuningReport)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidRequest(f"a report cannot be read: {plain(str(error))}") from None


def take_report(adaptation: Adaptation, stored: int, report: TuningReport, now: float) -> Taken:
    """The adaptation after the report, and what is to be stored; ``stored`` entries are already.

    Entries count once by their number. Those beyond a gap are left: the next order tells the agent where to go on.
    The end comes with the journal's last entry, never with a mere word.
    """
    entries, ended, refused = _new_entries(report, stored, now)
    after = replace(
        adaptation,
        activity=plain(report.activity) or adaptation.activity,
        used_s=max(adaptation.used_s, _seconds(report.used_s)),
    )
    if ended is not None:
        after = finished(after, ended.phase, plain(ended.reason), now)
    elif report.phase in FINAL_PHASES:
        if adaptation.cancel_asked and not refused and report.entries_from + len(report.entries) <= stored:
            # Everything that it has is here, and its end is none of it.
            after = finished(after, "cancelled", after.activity, now)
        else:
            refused = refused or f"it says {report.phase!r} without the journal's last entry"
            after = replace(after, activity=adaptation.activity)
    elif report.phase != "waiting" and report.phase != adaptation.state:
        after = replace(after, state=report.phase, state_since=now)
    return Taken(after, entries, ended, refused)


def finished(adaptation: Adaptation, phase: str, reason: str, now: float) -> Adaptation:
    """The adaptation after its end."""
    if phase not in FINAL_PHASES:
        raise ValueError(f"{phase} is no end")
    return replace(adaptation, state=phase, activity=reason, state_since=now, finished_at=now)  # type: ignore[arg-type]


def plain(text: str) -> str:
    """An agent's words on one line, bounded, without what no database and no terminal takes."""
    return "".join(c if c.isprintable() else " " for c in text[:TEXT_CHARS_MAX]).strip()


def _new_entries(report: TuningReport, stored: int, now: float) -> tuple[tuple[StoredEntry, ...], Ended | None, str]:
    """Entries to store, the end if it is among them, and why the rest is refused."""
    found: list[StoredEntry] = []
    if not 0 <= report.entries_from <= stored:
        return (), None, ""
    for number, text in enumerate(report.entries, report.entries_from):
        if number < stored:
            continue
        try:
            entry = _read(text)
        except InvalidRequest as error:
            return tuple(found), None, f"entry {number}: {error.message}"
        at = entry.at_s if 0 <= entry.at_s < _UNIX_S_MAX else now
        found.append(StoredEntry(number, at, text))
        if isinstance(entry, Ended):
            beyond = report.entries_from + len(report.entries) - number - 1
            return tuple(found), entry, f"{beyond} entries after the last" if beyond else ""
    return tuple(found), None, ""


def _read(text: str) -> Entry:
    if len(text) > ENTRY_CHARS_MAX:
        raise InvalidRequest(f"it takes {len(text):,} characters, at most {ENTRY_CHARS_MAX:,} are taken")
    try:
        return read_entry(text)
    except (RecursionError, ValueError) as error:
        raise InvalidRequest(f"it cannot be read: {plain(str(error))}") from None


def _seconds(value: float) -> float:
    return min(value, _USED_S_MAX) if math.isfinite(value) and value > 0 else 0.0
