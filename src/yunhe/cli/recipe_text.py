"""A recipe as a page to read. Its words may be a stranger's: what does not print is escaped."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from yunhe.core.units import bytes_text

if TYPE_CHECKING:
    from yunhe.sdk.recipes import Estimate, RecipeDetail

#: Of a content id: enough to tell a few thousand recipes apart.
SHORT_CHARS: Final = 16
_TITLE_CHARS: Final = 14
_MARKS: Final = {"applies": "yes", "needs force": "only with --force", "never": "no"}


def safe(text: object) -> str:
    """Text of others on one line, safe on a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def short_id(recipe_id: str) -> str:
    """The beginning of a content id, as the other commands take it."""
    return recipe_id[:SHORT_CHARS]


def gain_text(ratio: Estimate) -> str:
    """``2.25 x (2.14 to 2.36)``."""
    ends = "" if ratio.low is None else f" ({ratio.low:.2f} to {ratio.high:.2f})"
    return f"{ratio.value:.2f} x{ends}"


def share_text(share: Estimate) -> str:
    """``95.0 %``."""
    return f"{share.value:.1%}".replace("%", " %")


def page_of(recipe: RecipeDetail) -> Iterator[str]:
    """What, where, how it was proven, how to start it, and whether it may be used: line by line."""
    document = recipe.document
    yield from _what(recipe, document)
    yield from _gains(recipe)
    yield from _measured(document)
    yield from _fidelity(document["fidelity"])
    yield from _how(document)
    if document["known_limits"]:
        yield from _section("known limits", [safe(limit) for limit in document["known_limits"]])
    places = [_place(place.model_dump()) for place in recipe.places]
    yield from _section("usable here", places or ["no centre has cards"])


def _what(recipe: RecipeDetail, document: dict[str, Any]) -> Iterator[str]:
    chip, build, host = document["chip"], document["engine"]["build"], document["host"]
    cores = f", {chip['core_count']} cores" if chip["core_count"] else ""
    memory = f", {bytes_text(chip['memory_bytes'])}" if chip["memory_bytes"] else ""
    verdict = recipe.verdict
    believed = f"yes: {verdict.reason}" if verdict.accepted else f"NO ({verdict.refusal}): {verdict.reason}"
    rows = {
        "recipe": recipe.id,
        "model": f"{recipe.model}, weights {document['model']['digest'][:12]}",
        "chip": f"{chip['count']} x {recipe.chip} ({chip['model_name']}{cores}{memory})",
        "host": f"{host['cpu_model_name'] or 'unknown CPU'}, {host['cpu_cores'] or '?'} cores, {host['os']}",
        "engine": f"{build['name']} {build['version']}, build {build['build_digest'][:12]}",
        "workload": recipe.workload,
        "made": f"{recipe.made_at.astimezone(UTC):%Y-%m-%d %H:%M UTC} by {recipe.made_by} ({recipe.origin})",
        "believed": believed,
    }
    for title, text in rows.items():
        yield f"{title:<{_TITLE_CHARS}}{safe(text)}"
    if not verdict.accepted:
        yield f"{'':<{_TITLE_CHARS}}{safe(verdict.next_step)}"


def _gains(recipe: RecipeDetail) -> Iterator[str]:
    rows = [
        f"{safe(one.load):<18}{safe(one.metric):<24}{gain_text(one.ratio)}, {one.pairs} pairs by turns"
        for one in recipe.gains
    ]
    baseline = recipe.document["baseline"]
    over = f"gain over {safe(baseline['description'])}" if baseline else "gain"
    yield from _section(over, rows or ["nothing was compared"])


def _measured(document: dict[str, Any]) -> Iterator[str]:
    rows = []
    for one in document["measurements"]:
        load = one["load"]
        label = f"{load['concurrency']} in flight" if load["concurrency"] else f"{load['requests_per_s']:g} requests/s"
        figures = (
            f"{_number(one['output_tokens_per_s'], 1)} tokens/s",
            f"TTFT p50 {_number(one['ttft_p50_s'], 1, 1000)} ms, p99 {_number(one['ttft_p99_s'], 1, 1000)} ms",
            f"TPOT p50 {_number(one['tpot_p50_s'], 2, 1000)} ms",
            f"{one['repeats']} repeats, {len(one['rejected'])} rejected",
        )
        rows.append(f"{label:<18}{'; '.join(figures)}")
    yield from _section("measured", rows)


def _fidelity(proof: dict[str, Any]) -> Iterator[str]:
    reference = proof["reference"]
    rows = [
        f"{proof['verdict']} for {safe(proof['use_class'])}, against {safe(reference['name'])} at "
        f"{safe(reference['precision'])} over {proof['positions']:,} positions",
        f"KL {_number(proof['kl_nats'], 4)} nats, top-1 agreement {_number(proof['top1_share'], 1, 100)} %, "
        f"perplexity ratio {_number(proof['perplexity_ratio'], 3)}",
        *(safe(reason) for reason in proof["reasons"]),
    ]
    if proof["unmeasured"]:
        rows.append(f"not measured: {safe(', '.join(proof['unmeasured']))}")
    yield from _section("fidelity", rows)


def _how(document: dict[str, Any]) -> Iterator[str]:
    engine = document["engine"]
    settings = ", ".join(f"{name}={value}" for name, value in sorted(document["settings"].items()))
    yield from _section("settings", [safe(settings or "the engine's own")])
    env = [f"{name}={shlex.quote(value)}" for name, value in sorted(engine["env"].items())]
    yield from _section("started as", [safe(" ".join([*env, shlex.join(engine["argv"])]))])


def _place(place: dict[str, Any]) -> str:
    head = f"{place['centre']}/{place['node']}, {place['chip']}: {_MARKS.get(place['outcome'], place['outcome'])}"
    return safe("; ".join([head, *place["reasons"]]))


def _section(title: str, rows: list[str]) -> Iterator[str]:
    yield ""
    yield title
    for row in rows:
        yield f"  {row}"


def _number(estimate: dict[str, Any], digits: int, factor: float = 1.0) -> str:
    """The value, and its interval where there is one."""
    ends = estimate["interval"]
    text = f"{estimate['value'] * factor:,.{digits}f}"
    if ends is None:
        return text
    return f"{text} ({ends['low'] * factor:,.{digits}f} to {ends['high'] * factor:,.{digits}f})"
