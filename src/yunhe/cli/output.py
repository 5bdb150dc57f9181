"""Data on stdout: tables on a terminal, tab-separated lines elsewhere, JSON when asked. Words go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from yunhe.cli.invocation import current

if TYPE_CHECKING:
    from yunhe.sdk.records import Record

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """A column of a list or a line of a single record. None and "" show as a dash on a terminal."""

    title: str
    value: Callable[[R], str | None]
    #: Numbers stand right.
    right: bool = False


def emit_list(records: Sequence[Record], columns: Sequence[Column[Any]], *, empty: str) -> None:
    """Print a list; ``empty`` says on stderr what to do when there is nothing."""
    if current().as_json:
        emit_json([record.model_dump(mode="json", by_alias=True) for record in records])
        return
    if not records:
        note(empty)
        return
    emit_rows(columns, [[column.value(record) or "" for column in columns] for record in records])


def emit_rows(columns: Sequence[Column[Any]], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal, tab-separated lines elsewhere. The columns' values are the cells already."""
    if sys.stdout.isatty():
        _table(columns, rows)
        return
    for row in rows:
        click.echo("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))


def cells(*titles: str, right: Sequence[str] = ()) -> tuple[Column[Any], ...]:
    """Columns of ``emit_rows``; those in ``right`` hold numbers."""
    return tuple(Column(title, lambda cell: str(cell), title in right) for title in titles)


def emit_record(record: Record, columns: Sequence[Column[Any]]) -> None:
    """Print one record, a line per field."""
    if current().as_json:
        emit_json(record.model_dump(mode="json", by_alias=True))
        return
    width = max(len(column.title) for column in columns) if sys.stdout.isatty() else 0
    for column in columns:
        value = column.value(record) or ""
        if sys.stdout.isatty():
            click.echo(f"{click.style(column.title.ljust(width), dim=True)}  {state_style(value or '-')}")
        else:
            click.echo(f"{column.title}\t{value}")


def emit_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def note(text: str) -> None:
    """Words for people, on stderr."""
    click.echo(text, err=True)


def done(text: str, record: Record) -> None:
    """What a write did: words on stderr, or the record as JSON on stdout."""
    if current().as_json:
        emit_json(record.model_dump(mode="json", by_alias=True))
    else:
        note(text)


_COLOURS = {
    "green": ("ready", "ok", "online", "healthy"),
    "yellow": ("starting", "probing", "pending", "degraded", "draining", "stopping", "away", "warning", "warn"),
    "red": ("down", "failed", "unhealthy", "error", "fail"),
}


def state_style(text: str) -> str:
    """A state's word in its colour; the word itself says it too. Other text is left alone."""
    for colour, words in _COLOURS.items():
        if text in words:
            return click.style(text, fg=colour)
    return text


def _table(columns: Sequence[Column[Any]], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text.from_ansi(state_style(cell or "-")) for cell in row))
    Console().print(table)


@contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """Show that something goes on; call what is handed out with each new text. Lines when stderr is no terminal."""
    if not sys.stderr.isatty():
        shown = [text]
        note(text)

        def tell(new: str) -> None:
            if new != shown[0]:
                shown[0] = new
                note(new)

        yield tell
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(text)) as status:
        yield lambda new: status.update(escape(new))
