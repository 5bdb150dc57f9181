"""`yunhe usage`: what was used, and what it cost."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import Column, emit_json, emit_list
from yunhe.cli.texts import Moment, amount, number, when

if TYPE_CHECKING:
    from yunhe.sdk.ledger import GroupBy, Usage, UsageGroup, UsageRecord


def _columns(title: str) -> tuple[Column[UsageGroup], ...]:
    return (
        Column(title, lambda group: group.name),
        Column("requests", lambda group: number(group.requests), right=True),
        Column("prompt tokens", lambda group: number(group.prompt_tokens), right=True),
        Column("of these cached", lambda group: number(group.cached_tokens), right=True),
        Column("completion tokens", lambda group: number(group.completion_tokens), right=True),
        Column("credits", lambda group: amount(group.cost_micro), right=True),
        Column("errors", lambda group: number(group.errors), right=True),
    )


RECORD_COLUMNS: tuple[Column[UsageRecord], ...] = (
    Column("when", lambda record: when(record.started_at)),
    Column("request", lambda record: record.request_id),
    Column("model", lambda record: record.model),
    Column("outcome", lambda record: record.outcome),
    Column("prompt", lambda record: number(record.prompt_tokens), right=True),
    Column("completion", lambda record: number(record.completion_tokens), right=True),
    Column("TTFT s", lambda record: number(record.ttft_s, 3), right=True),
    Column("s", lambda record: number(record.duration_s, 2), right=True),
    Column("credits", lambda record: amount(record.cost_micro), right=True),
    Column("served by", lambda record: record.served_by),
)


@click.command("usage")
@click.option(
    "--by", "group_by", type=click.Choice(["model", "key", "day", "hour"]), default="model", show_default=True
)
@click.option("--from", "since", type=Moment(), help="From then on: 2026-11-23, or 7d for seven days ago.")
@click.option("--to", type=Moment(), help="Before then.")
@click.option("--project", help="Project, by name or id.")
@click.option("--records", is_flag=True, help="Single requests, newest first.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Of --records.")
@remote_command
def command(
    group_by: GroupBy, since: datetime | None, to: datetime | None, project: str | None, records: bool, limit: int
) -> None:
    """What a project used, and what it cost."""
    with client() as api:
        if records:
            rows = [*islice(api.ledger.records(project=project), limit)]
            emit_list(rows, RECORD_COLUMNS, empty="Nothing was used yet.")
            return
        usage = api.ledger.usage(project=project, since=since, to=to, group_by=group_by)
    if current().as_json:
        emit_json(usage.model_dump(mode="json", by_alias=True))
        return
    rows_and_total = [*usage.groups, _total(usage)] if usage.groups else []
    emit_list(rows_and_total, _columns(group_by), empty="Nothing was used in that time.")


def _total(usage: Usage) -> UsageGroup:
    from yunhe.sdk.ledger import UsageGroup

    return UsageGroup(key="total", name="total", **usage.total.model_dump())
