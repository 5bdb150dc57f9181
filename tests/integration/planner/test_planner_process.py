"""`yunhe plan` and `yunhe chip` as a user runs them: no server, no network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

YUNHE = (sys.executable, "-P", "-m", "yunhe")
PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "data" / "adaptation" / "published_inference.csv"
COLUMNS = (
    "row_id,source_group,model,chip,chip_count,engine,precision,parallelism,isl,osl,concurrency_or_batch,scenario,"
    "ttft_ms,tpot_ms,output_tok_s\n"
)
ROWS = """\
1,mine,meta-llama/Llama-3.1-8B-Instruct,NVIDIA H100,1,vLLM,bf16,tp1,1024,1024,16,closed loop,90,9,1700
2,mine,Qwen/Qwen3-32B,NVIDIA h200_sxm,4,sglang,fp8,tp4,1024,512,64,closed loop,,14,4300
3,mine,no-such-model,NVIDIA H100,1,vLLM,bf16,tp1,1024,1024,16,closed loop,90,9,1700
4,mine,Qwen/Qwen3-32B,Kunlunxin P800,1,vLLM,bf16,tp1,1024,1024,16,closed loop,90,9,1700
5,mine,DeepSeek-V3,NVIDIA H100,96,SGLang,fp8,"PD disaggregation, 12 nodes",2000,100,8,decode per node,,50,
"""


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([*YUNHE, *arguments], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def answer(*arguments: str) -> Any:
    status, out, words = run(*arguments, "--json")
    assert status == 0, words
    return json.loads(out)


def test_a_plan_marks_one_way_and_says_why_others_are_out() -> None:
    plan = answer("plan", "qwen3-32b", "--chip", "h100-sxm", "--chip", "l4", "--slo", "ttft_p95=2s,tpot_p95=40ms")
    chosen = [way for way in plan["ways"] if way["chosen"]]
    assert len(chosen) == 1
    assert chosen[0] is plan["ways"][0]
    for way in plan["ways"]:
        assert way["tpot_p95_s"] <= 0.040
        assert way["ttft_p95_s"] <= 2.0
        assert way["tpot_s"]["low"] <= way["tpot_s"]["value"] < way["tpot_s"]["high"]
        assert way["binding"]
        assert way["basis"]
    rates = [way["output_tokens_per_s_per_card"] for way in plan["ways"]]
    assert rates == sorted(rates, reverse=True)
    assert all(no["reason"] for no in plan["refused"])


def test_a_price_turns_the_objective_to_cost() -> None:
    prices = ("--price", "h100-sxm=20", "--price", "h200-sxm=30")
    plan = answer("plan", "llama-3.1-8b", "--chip", "h100-sxm", "--chip", "h200-sxm", "--engine", "vllm", *prices)
    assert plan["objective"] == "cost"
    costs = [way["credits_per_million_tokens"] for way in plan["ways"]]
    assert costs == sorted(costs)
    dear = answer("plan", "llama-3.1-8b", "--chip", "h100-sxm", "--engine", "vllm", *prices, "--max-price", "0.000001")
    assert dear["ways"] == []
    assert any("credits for a million tokens" in no["reason"] for no in dear["refused"])


def test_what_does_not_fit_says_how_much_it_needs() -> None:
    plan = answer("plan", "deepseek-v3", "--chip", "l4", "--engine", "vllm", "--cards", "l4=4")
    assert plan["ways"] == []
    assert any("GB; 4 cards hold less" in no["reason"] for no in plan["refused"])


def test_a_terminal_gets_a_table_and_words() -> None:
    status, out, words = run("plan", "llama-3.1-8b", "--chip", "h100-sxm", "--engine", "vllm")
    assert status == 0
    assert out.startswith("CHOSEN\th100-sxm\tvllm")
    assert "Predicted, not measured" in words


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("plan",), 2, "give a MODEL"),
        (("plan", "qwen3-31b"), 3, "Did you mean"),
        (("plan", "qwen3-32b", "--chip", "h1000"), 3, "Did you mean"),
        (("plan", "qwen3-32b", "--slo", "speed=fast"), 2, "tpot_p95=50ms"),
        (("plan", "qwen3-32b", "--precision", "fp3"), 1, "no such precision"),
        (("chip", "show", "h1000"), 3, "Did you mean"),
    ],
)
def test_bad_asks_get_a_clear_error(arguments: tuple[str, ...], status: int, word: str) -> None:
    found, _, words = run(*arguments)
    assert (found, word in words) == (status, True), words


def test_published_rows_are_predicted_or_refused_with_the_reason(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(COLUMNS + ROWS)
    report = answer("plan", "--validate", str(file))
    scored = {(row["row_id"], row["metric"]): row for row in report["rows"] if "metric" in row}
    assert set(scored) == {
        ("1", "ttft_ms"),
        ("1", "tpot_ms"),
        ("1", "output_tok_s"),
        ("2", "tpot_ms"),
        ("2", "output_tok_s"),
    }
    for row in scored.values():
        assert row["low"] <= row["predicted"] <= row["high"]
        assert row["level"] == "engine, chip and model seen"
    refused = {row["row_id"]: row["refused"] for row in report["rows"] if "refused" in row}
    assert "no-such-model" in refused["3"]
    assert "P800" in refused["4"]
    assert "disaggregated" in refused["5"]
    assert {group["metric"] for group in report["groups"]} == {"ttft_ms", "tpot_ms", "output_tok_s"}


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,2\n")
    status, _, words = run("plan", "--validate", str(file))
    assert (status, "lacks the columns chip, engine, model, row_id" in words) == (1, True)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the folder of published results is not beside this checkout")
def test_given_published_rows_meet_their_goals() -> None:
    report = answer("plan", "--validate", str(PUBLISHED))
    groups = {(group["group"], group["metric"]): group for group in report["groups"] if group["level"] == "all"}
    tpot, ttft = (groups["aiconfigurator-silicon-sample", metric] for metric in ("tpot_ms", "ttft_ms"))
    # A stratified choice: rare ways of serving count as much here as common ones do in the whole sample (8.6 %).
    assert tpot["median_error"] <= 0.12
    assert ttft["median_error"] <= 0.25
    assert 0.80 <= tpot["coverage"] <= 1.0


CONFIG = {
    "model_type": "qwen3",
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "num_hidden_layers": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
}


@pytest.mark.parametrize("by", ["file", "directory"])
def test_a_config_json_is_planned_as_the_same_model_of_the_catalogue_is(tmp_path: Path, by: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    chip = ("--chip", "h100-sxm", "--engine", "vllm")
    own = answer("plan", str(file if by == "file" else tmp_path), *chip)["ways"]
    known = answer("plan", "qwen3-32b", *chip)["ways"]
    assert [way["tensor_parallel"] for way in own] == [way["tensor_parallel"] for way in known]
    # The fit knows the catalogue's model by name, so its numbers may differ a little.
    assert own[0]["tpot_s"]["value"] == pytest.approx(known[0]["tpot_s"]["value"], rel=0.3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "config.json is not JSON"),
        ('{"model_type": "nothing-known"}', "'nothing-known' are not known"),
        ('{"model_type": "llama"}', "does not say num_hidden_layers"),
        ('{"a": 1}', "names neither model_type nor architectures"),
    ],
)
def test_a_bad_config_json_is_explained(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "config.json").write_text(content)
    status, _, error = run("plan", str(tmp_path / "config.json"))
    assert (status, words in error, "hint: " in error) == (1, True, True), error


def test_a_config_json_that_is_not_there_is_explained(tmp_path: Path) -> None:
    status, _, error = run("plan", str(tmp_path / "config.json"))
    assert (status, "cannot be read" in error) == (1, True), error


def test_architectures_are_listed_with_sources_and_what_they_amount_to() -> None:
    known = {one["architecture"]["id"]: one for one in answer("model", "architectures")}
    assert len(known) >= 100
    found = known["deepseek-v3"]
    assert (found["parameters"], found["active_parameters"], found["layers"]) == (671_000_000_000, 37_000_000_000, 61)
    assert [group["kind"] for group in found["architecture"]["attention"]] == ["mla"]
    for one in known.values():
        assert one["maker"]
        assert one["parameters"] >= one["active_parameters"] > 0
        assert one["layers"] == sum(group["layers"] for group in one["architecture"]["attention"])
        assert set(one["sources"]) == set(one["architecture"]["sources"])
        assert all(source["title"] for source in one["sources"].values())


def test_architectures_of_a_family_are_a_table_of_names_sizes_layers_attention_and_sources() -> None:
    status, out, words = run("model", "architectures", "--family", "gpt-oss")
    assert status == 0
    rows = [line.split("\t") for line in out.splitlines()]
    (large,) = [row for row in rows if row[0] == "gpt-oss-120b"]
    assert large[1:7] == ["gpt-oss", "117B", "5.1B", "36", "18 window 128 + 18 full GQA", "131072"]
    assert "aiconfigurator" in large[7]
    assert {row[1] for row in rows} == {"gpt-oss"}
    assert "2 architectures" in words


def test_one_architecture_shows_its_layers_and_where_it_was_read() -> None:
    status, out, _ = run("model", "architecture", "deepseek-ai/DeepSeek-V3")
    assert status == 0
    assert "mla\t61\theads=128" in out
    assert "256 experts of 2048, 8 for a token" in out
    assert "aiconfigurator" in out
    assert answer("model", "architecture", "deepseek-v3")["architecture"]["vocabulary"] == 129280


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("model", "architectures", "--family", "no-such"), "One of deepseek"),
        (("model", "architecture", "qwen3-31b"), "Did you mean"),
        (("plan", "zzzz"), "yunhe model architectures"),
    ],
)
def test_unknown_architectures_lead_to_the_list(arguments: tuple[str, ...], words: str) -> None:
    status, _, error = run(*arguments)
    assert (status, words in error) == (3, True), error


def test_chips_are_listed_shown_and_compared() -> None:
    assert len(answer("chip", "list")) >= 40
    assert answer("chip", "show", "h20")["chip"]["peak_flops"]["bf16"]["sources"]
    found = {one["field"]: one["ratio"] for one in answer("chip", "diff", "h100-sxm", "h200-sxm")}
    assert found["memory_bandwidth_bytes_per_s"] == pytest.approx(4.8 / 3.35)
