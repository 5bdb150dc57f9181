"""Every noun's list, as JSON for programs and as lines for shells."""

from __future__ import annotations

import json
from typing import Any

import pytest

MODEL = "smollm2-135m-instruct"
LISTS = [
    ("model", "list"),
    ("deployment", "list"),
    ("deployment", "events", MODEL),
    ("rollout", "list", MODEL),
    ("replica", "list"),
    ("replica", "list", "--all"),
    ("event", "list"),
    ("centre", "list"),
    ("node", "list"),
    ("card", "list"),
    ("engine", "list"),
    ("key", "list"),
    ("project", "list"),
    ("project", "members", "default"),
    ("user", "list"),
    ("price", "list"),
    ("ledger", "entries"),
    ("usage", "--records"),
]


@pytest.mark.parametrize("arguments", LISTS, ids=" ".join)
def test_list_is_an_array_as_json(instance: Any, arguments: tuple[str, ...]) -> None:
    records = instance.json(*arguments)
    assert isinstance(records, list)
    assert all(isinstance(record, dict) for record in records)


def test_list_is_tab_separated_lines_where_no_terminal_is(instance: Any) -> None:
    lines = instance.run("card", "list").stdout.splitlines()
    assert len(lines) == len(instance.json("card", "list"))
    assert all("\t" in line and "\x1b" not in line for line in lines)


def test_default_model_is_deployed_and_ready(instance: Any) -> None:
    deployments = instance.json("deployment", "list")
    assert [(found["model"], found["state"], found["ready_replicas"]) for found in deployments] == [(MODEL, "ready", 1)]
    shown = instance.json("deployment", "show", MODEL)
    assert shown["id"] == deployments[0]["id"]
    replicas = instance.json("replica", "list", "--deployment", MODEL)
    assert [replica["state"] for replica in replicas] == ["ready"]
    assert replicas[0]["centre"] == "local"


def test_model_shows_its_digest_and_price(instance: Any) -> None:
    model = instance.json("model", "show", MODEL)
    assert model["sha256"] == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert model["price"]["input_micro_per_mtok"] > 0
    assert "Apache-2.0" in instance.run("model", "show", MODEL).stdout


def test_card_shows_where_its_speeds_come_from(instance: Any) -> None:
    cards = instance.json("card", "list")
    shown = instance.json("card", "show", cards[0]["uid"])
    assert shown["speeds"]
    assert {speed["source"] for speed in shown["speeds"].values()} <= {"measured", "reported", "declared"}


def test_plural_of_a_noun_is_understood(instance: Any) -> None:
    assert instance.json("models", "list") == instance.json("model", "list")


def test_balance_alone_shows_it(instance: Any) -> None:
    alone, shown = instance.json("balance"), instance.json("balance", "show", "default")
    assert alone["project"] == shown["project"] == "default"
    assert alone["credited_micro"] > 0


def test_usage_sums_up_and_groups(instance: Any) -> None:
    for group in ("model", "key", "day", "hour"):
        usage = instance.json("usage", "--by", group, "--from", "7d")
        assert usage["total"]["requests"] == sum(row["requests"] for row in usage["groups"])


def test_books_are_right(instance: Any) -> None:
    verified = instance.json("ledger", "verify")
    assert verified["ok"] is True
    assert verified["sum_micro"] == 0
    assert verified["problems"] == []


def test_config_says_where_values_come_from(instance: Any) -> None:
    values = instance.json("config", "show", "--origin")
    assert values["home"] == {"value": str(instance.home), "origin": "environment YUNHE_HOME"}
    assert values["workers"]["origin"] == "default"


def test_logs_of_every_process_can_be_read(instance: Any) -> None:
    replica = instance.json("replica", "list")[0]["id"]
    for name in ("control", "gateway", "agent", "launcher", replica):
        text = instance.json("logs", name, "-n", "5")
        assert text
        assert all(len(lines) <= 5 for lines in text.values())
    plain = instance.run("logs", "launcher", "-n", "1")
    assert plain.stdout.count("\n") == 1
    assert instance.console_url in plain.stdout


def test_status_tells_every_part(instance: Any) -> None:
    status = instance.json("status")
    assert status["healthy"] is True
    assert status["base_url"] == instance.base_url
    assert {part["kind"] for part in status["parts"]} >= {"control", "gateway", "agent", "database", "deployment"}
    names = {process["name"] for process in status["processes"]}
    assert names == {"control", "agent", "gateway-0", "gateway-1"}


def test_key_of_a_stranger_is_never_sent_elsewhere(instance: Any) -> None:
    """The stored key belongs to the stored address: another address is asked without it."""
    done = instance.run("key", "list", "--url", "http://127.0.0.1:9", "--json")
    assert done.returncode == 1
    assert "error[unreachable]" in done.stderr
    assert json.loads(instance.home.joinpath("credentials.json").read_text())["manage_key"] not in done.stderr
