"""`yunhe ledger`: the books."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from yunhe.cli import exits
from yunhe.cli.connect import client
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import Column, emit_json, emit_list, note
from yunhe.cli.texts import amount, when

if TYPE_CHECKING:
    from yunhe.sdk.ledger import Entry, LedgerProblem


@click.group("ledger")
def command() -> None:
    """The books: entries, and proof that they are right."""


COLUMNS: tuple[Column[Entry], ...] = (
    Column("when", lambda entry: when(entry.created_at)),
    Column("kind", lambda entry: entry.kind),
    Column("reference", lambda entry: entry.reference),
    Column(
        "postings", lambda entry: " ".join(f"{line.account}:{amount(line.amount_micro)}" for line in entry.postings)
    ),
    Column("memo", lambda entry: entry.memo),
    Column("id", lambda entry: entry.id),
)
PROBLEM_COLUMNS: tuple[Column[LedgerProblem], ...] = (
    Column("reference", lambda problem: problem.reference),
    Column("problem", lambda problem: problem.problem),
    Column("expected", lambda problem: amount(problem.expected_micro), right=True),
    Column("found", lambda problem: amount(problem.found_micro), right=True),
)


@command.command("entries")
@click.option("--project", help="Project, by name or id.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@remote_command
def entries(project: str | None, limit: int) -> None:
    """List entries, newest first."""
    with client() as api:
        emit_list([*islice(api.ledger.entries(project), limit)], COLUMNS, empty="No entries yet.")


@command.command("verify")
@remote_command
def verify() -> int:
    """Recompute every posting from usage and prices; exit status 1 when something is wrong."""
    with client() as api:
        result = api.ledger.verify()
    if current().as_json:
        emit_json(result.model_dump(mode="json"))
    else:
        if result.problems:
            emit_list(result.problems, PROBLEM_COLUMNS, empty="")
        verdict = "The books are right" if result.ok else "The books are WRONG"
        note(f"{verdict}: {result.entries_checked} entries and {result.usage_checked} usage records checked.")
    return exits.OK if result.ok else exits.FAILED
