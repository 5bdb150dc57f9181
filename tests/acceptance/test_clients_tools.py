"""Programs of other people run against a running instance: the ``llm`` command line and the guidellm load tester."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

MODEL = "smollm2-135m-instruct"
CACHE = Path(__file__).parents[2] / ".cache" / "clients"
PROMPT = "The capital of France is"
TIMEOUT_S = 240


def program(name: str) -> Path:
    """The installed program; skips with the reason when it could not be installed."""
    found = CACHE / name / "bin" / name
    if not found.exists():
        reason = CACHE / f"{name}.reason"
        pytest.skip(reason.read_text() if reason.exists() else "run tests/acceptance/clients/install.py first")
    return found


def run(argv: list[str], home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run with a home directory of its own and nothing of the instance's environment."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    done = subprocess.run(
        argv,
        cwd=home,
        env={**kept, "HOME": str(home), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done


@pytest.fixture
def llm_home(instance: Any, tmp_path: Path) -> Path:
    """llm's configuration for an OpenAI-compatible server, as its documentation says (JSON is YAML)."""
    models = [
        {"model_id": "yunhe-chat", "model_name": MODEL, "api_base": instance.base_url, "api_key_name": "yunhe"},
        {
            "model_id": "yunhe-text",
            "model_name": MODEL,
            "api_base": instance.base_url,
            "api_key_name": "yunhe",
            "completion": True,
        },
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))
    return tmp_path


@pytest.mark.parametrize("option", ["--usage", "--no-stream"])
def test_llm_command_line_chats(instance: Any, llm_home: Path, option: str) -> None:
    argv = [str(program("llm")), "-m", "yunhe-chat", "--key", instance.api_key, option]
    done = run(
        [*argv, "-o", "max_tokens", "8", "-o", "temperature", "0", PROMPT], llm_home, LLM_USER_PATH=str(llm_home)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if option == "--usage":
        assert "8 output" in done.stderr


def test_llm_command_line_completes_text(instance: Any, llm_home: Path) -> None:
    argv = [str(program("llm")), "-m", "yunhe-text", "--key", instance.api_key, "-o", "max_tokens", "8"]
    done = run([*argv, "-o", "temperature", "0", PROMPT], llm_home, LLM_USER_PATH=str(llm_home))
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


def test_llm_command_line_shows_why_a_key_is_refused(llm_home: Path) -> None:
    argv = [str(program("llm")), "-m", "yunhe-chat", "--key", "wrong", PROMPT]
    done = run(argv, llm_home, LLM_USER_PATH=str(llm_home))
    assert done.returncode == 1
    assert "yunhe key create" in done.stderr


def test_guidellm_measures_the_instance_without_an_error(instance: Any, tmp_path: Path) -> None:
    prompts = [{"prompt": f"{PROMPT} {number}", "output_tokens_count": 8} for number in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    argv = [str(program("guidellm")), "benchmark", "run", "--target", instance.base_url.removesuffix("/v1")]
    argv += ["--model", MODEL, "--backend-args", json.dumps({"api_key": instance.api_key})]
    argv += ["--rate-type", "concurrent", "--rate", "2", "--max-requests", "6", "--disable-progress"]
    argv += ["--data", "prompts.jsonl", "--data-args", json.dumps({"prompt_column": "prompt"})]
    done = run([*argv, "--output-path", "out.json"], tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    benchmark = json.loads((tmp_path / "out.json").read_text())["benchmarks"][0]
    assert benchmark["request_totals"] == {"successful": 6, "errored": 0, "incomplete": 0, "total": 6}
    metrics = benchmark["metrics"]
    assert metrics["output_token_count"]["successful"]["total_sum"] > 0
    assert metrics["time_to_first_token_ms"]["successful"]["count"] == 6
