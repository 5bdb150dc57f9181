"""`yunhe recipe` and `yunhe adaptation` against an instance that answers."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from yunhe.adapt.adaptation import AdaptationSpec
from yunhe.adapt.signing import SigningKey, sign
from yunhe.cli.main import main
from yunhe.control.adaptations import AdaptationAsk, Adaptations
from yunhe.control.recipes import keep_signed
from yunhe.control.state import ControlState
from yunhe.core.units import GIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.sdk import Client
from yunhe.serve.sync import EngineInfo
from yunhe.store import pool
from yunhe.testing.recipes import sample_recipe

PARTNER = SigningKey(b"p" * 32)
CARD = Card("cpu0", "cpu-x", "maker", "cpu", "A CPU", 16 * GIB, cores=8, health="healthy")


async def prepare(state: ControlState) -> tuple[str, str]:
    """A recipe that is kept, and an adaptation that waits; their ids."""
    now = state.clock.unix_s()
    async with state.db.write() as tx:
        kept = await keep_signed(tx, state, sample_recipe())
        local = await pool.centre(tx, "local")
        assert local is not None
        await pool.touch_centre(tx, local.id, now)
        await pool.set_engines(tx, local.id, (EngineInfo("alpha", "1"),))
        await pool.take_inventory(tx, local.id, Inventory((Node("host", 16 * GIB, 8, "linux", (CARD,)),), now))
    made = await Adaptations(state).create(AdaptationAsk(AdaptationSpec("smollm2-135m-instruct"), "local"))
    await state.db.dispose()
    return kept, made.adaptation.id


class Instance:
    """An instance that answers, and its command line."""

    def __init__(self, url: str, key: str, recipe: str, adaptation: str, capsysbinary: Any) -> None:
        self.url, self.key, self.recipe, self.adaptation = url, key, recipe, adaptation
        self._captured = capsysbinary

    def run(self, *arguments: str) -> tuple[int, bytes, str]:
        """Exit status, stdout and stderr of one command."""
        status = main(["--url", self.url, "--key", self.key, *arguments])
        found = self._captured.readouterr()
        return status, found.out, found.err.decode()

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        status, out, err = self.run(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def instance(
    seeded: Path, tmp_path: Path, instance_over: Any, serving: Callable[..., Any], tokens: Any, capsysbinary: Any
) -> Iterator[Instance]:
    root = tmp_path / "home"
    shutil.copytree(seeded, root)
    state, _ = instance_over(root)
    recipe, adaptation = asyncio.run(prepare(state))
    with serving(instance_over, root) as url:
        yield Instance(url, tokens(root)["cato"], recipe, adaptation, capsysbinary)


def test_recipes_are_listed_shown_and_compared(instance: Instance) -> None:
    (listed,) = instance.json("recipe", "list", "--chip", "cpu-test-one")
    assert listed["id"] == instance.recipe
    status, out, _ = instance.run("recipe", "list")
    assert (status, out.decode().split("\t")[:2]) == (0, [instance.recipe, "tiny"])
    assert "2.25 x (2.14 to 2.36)" in out.decode()
    status, out, err = instance.run("recipe", "list", "--model", "none")
    assert (status, out, "yunhe adapt" in err) == (0, b"", True)
    status, out, _ = instance.run("recipe", "show", instance.recipe[:16])
    page = out.decode()
    assert status == 0
    for words in ("believed      yes: signed by this instance", "2.25 x", "passed for chat", "serve --threads 8"):
        assert words in page
    assert instance.json("recipe", "show", instance.recipe)["document"]["model"]["name"] == "tiny"
    status, _, err = instance.run("recipe", "diff", instance.recipe, instance.recipe)
    assert (status, err) == (0, "They say the same.\n")
    assert instance.json("recipe", "diff", instance.recipe, instance.recipe)["changes"] == []
    assert instance.run("recipe", "show", "rcp_00000000")[0] == 3


def test_a_recipe_goes_out_and_comes_in_byte_for_byte(instance: Instance, tmp_path: Path) -> None:
    status, out, _ = instance.run("recipe", "export", instance.recipe)
    assert (status, json.loads(out)["recipe_id"]) == (0, instance.recipe)
    file = tmp_path / "recipe.json"
    status, none, _ = instance.run("recipe", "export", instance.recipe, "-o", str(file))
    assert (status, none, file.read_bytes()) == (0, b"", out)
    assert instance.json("recipe", "import", str(file))["origin"] == "local"
    file.write_bytes(sign(sample_recipe(), PARTNER))
    status, _, err = instance.run("recipe", "import", str(file))
    assert (status, "recipe_refused" in err, "unknown_key" in err) == (1, True, True)
    assert "hint: Ask the maker for the public key by another way" in err
    data = out.replace(b'"value":655.5', b'"value":955.5', 1)
    file.write_bytes(data)
    status, _, err = instance.run("recipe", "import", str(file))
    assert (status, "(altered)" in err) == (1, True)
    file.write_bytes(out + b"\n")
    status, _, err = instance.run("recipe", "import", str(file))
    assert (status, "bad_recipe" in err) == (1, True)
    status, _, err = instance.run("recipe", "revoke", instance.recipe, "--why", "the clock was wrong")
    assert (status, "is revoked" in err) == (0, True)
    status, out, _ = instance.run("recipe", "show", instance.recipe)
    assert "NO (revoked_recipe)" in out.decode()


def test_the_trust_list_is_kept_from_the_command_line(instance: Instance) -> None:
    (own,) = instance.json("recipe", "trust", "list")
    assert (own["own"], own["name"]) == (True, "this instance")
    status, _, err = instance.run("recipe", "trust", "add", "partner", PARTNER.public_key.hex().upper())
    assert (status, PARTNER.id in err) == (0, True)
    assert [key["name"] for key in instance.json("recipe", "trust", "list")] == ["this instance", "partner"]
    assert instance.json("recipe", "trust", "revoke", PARTNER.id, "--why", "stolen")["revoked_why"] == "stolen"
    assert instance.json("recipe", "trust", "remove", PARTNER.id) == {"key_id": PARTNER.id, "removed": True}
    assert instance.run("recipe", "trust", "remove", own["key_id"])[0] == 1


def test_adaptations_are_listed_shown_and_cancelled(instance: Instance) -> None:
    (listed,) = instance.json("adaptation", "list", "--centre", "local")
    assert (listed["id"], listed["state"]) == (instance.adaptation, "waiting")
    status, out, _ = instance.run("adaptation", "list")
    assert (status, b"waits for the agent of centre local" in out) == (0, True)
    status, out, _ = instance.run("adaptation", "show", instance.adaptation)
    lines = dict(line.split("\t", 1) for line in out.decode().splitlines())
    assert (lines["where"], lines["workload"]) == ("local: cpu0 (cpu-x)", "decode: 32+128 tokens, 8 and 1 in flight")
    assert lines["baseline"] == "default: alpha"
    status, _, err = instance.run("adaptation", "cancel", instance.adaptation)
    assert (status, err) == (0, f"{instance.adaptation} is cancelled.\n")
    assert instance.run("adaptation", "cancel", instance.adaptation)[0] == 1
    assert instance.json("adaptation", "show", instance.adaptation)["state"] == "cancelled"


def test_the_sdk_reads_a_journal_to_its_end(instance: Instance) -> None:
    with Client(instance.url, instance.key) as api:
        assert [*api.adaptations.journal(instance.adaptation)] == []
        page = api.adaptations.entries(instance.adaptation)
        assert (page.data, page.next, page.ended) == ([], 0, False)
        made = api.adaptations.create("smollm2-135m-instruct", "local", workload="prefill", engines=["alpha"], seed=4)
        assert (made.spec.workload.name, made.spec.engines, made.spec.seed, made.ended) == (
            "prefill",
            ["alpha"],
            4,
            False,
        )
        assert api.adaptations.cancel(made.id).ended
