"""Exit statuses, and errors that say what to do next."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("no-such-command",), 2),
        (("key", "create"), 2),
        (("deployment", "create"), 2),
        (("deployment", "scale", "x", "-1"), 2),
        (("usage", "--from", "yesterday-ish"), 2),
        (("deployment", "show", "no-such-thing"), 3),
        (("model", "show", "no/such/model"), 3),
        (("key", "show", "nosuchprefix"), 3),
        (("card", "show", "nowhere/cpu-9"), 3),
        (("logs", "rep_none"), 3),
        (("project", "show", "no-such-project"), 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_status_tells_what_kind_of_failure(instance: Any, arguments: tuple[str, ...], status: int) -> None:
    done = instance.run(*arguments)
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    if status != 2:
        assert done.stderr.startswith("error[")
        assert "\n\nhint: " in done.stderr


def test_bad_key_needs_a_sign_in(instance: Any) -> None:
    done = instance.run("key", "list", "--key", "yh_aaaaaaaaaaaa_" + "A" * 43)
    assert done.returncode == 4
    assert "error[not_signed_in]" in done.stderr


def test_key_without_the_scope_is_refused(instance: Any) -> None:
    done = instance.run("key", "create", "more", "--key", instance.api_key)
    assert done.returncode == 4
    assert "error[forbidden]" in done.stderr


def test_nobody_at_the_address(instance: Any) -> None:
    done = instance.run("model", "list", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "error[unreachable]" in done.stderr


def test_stack_trace_only_with_debug(instance: Any) -> None:
    plain = instance.run("key", "show", "nosuchprefix")
    debug = instance.run("key", "show", "nosuchprefix", "--debug")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert debug.returncode == plain.returncode == 3


def test_bad_weights_are_explained(instance: Any) -> None:
    path = instance.work / "not-a-model.gguf"
    path.write_bytes(b"GGUFnope" * 100)
    done = instance.run("model", "add", str(path))
    assert done.returncode == 1
    assert "error[bad_weights]" in done.stderr


def test_a_configuration_alone_is_planned_and_not_deployed(instance: Any) -> None:
    path = instance.work / "config.json"
    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4}
    path.write_text(json.dumps({"model_type": "llama", "vocab_size": 100, "max_position_embeddings": 512, **sizes}))
    added = instance.run("model", "add", str(path), "--name", "planned")
    assert (added.returncode, "without weights" in added.stderr) == (0, True)
    assert instance.json("plan", "planned", "--chip", "h100-sxm", "--engine", "vllm")["ways"]
    refused = instance.run("deployment", "create", "planned")
    assert refused.returncode == 1
    assert "error[no_weights]: no weights of planned are here" in refused.stderr
    assert "hint: Add the directory with its safetensors weights" in refused.stderr
    assert instance.run("model", "remove", "planned").returncode == 0


def test_deployed_model_cannot_be_removed(instance: Any) -> None:
    done = instance.run("model", "remove", "smollm2-135m-instruct")
    assert done.returncode == 1
    assert "error[conflict]" in done.stderr


def test_project_without_credit_is_refused_with_the_reason(instance: Any) -> None:
    instance.json("project", "create", "penniless")
    key = instance.json("key", "create", "poor", "--project", "penniless")["secret"]
    done = instance.run("chat", "smollm2-135m-instruct", "hello", "--key", key)
    while done.returncode == 4:
        # Gateways learn of a new key within two seconds.
        done = instance.run("chat", "smollm2-135m-instruct", "hello", "--key", key)
    assert done.returncode == 5, done.stderr
    assert "credit" in done.stderr


def test_what_takes_longer_than_the_time_limit_is_still_pending(instance: Any) -> None:
    name = "pending"
    try:
        done = instance.run(
            "deployment", "create", "smollm2-135m-instruct", "--name", name, "--centre", "local", "--timeout", "0"
        )
        assert done.returncode == 6, done.stderr
        assert "error[still_pending]" in done.stderr
    finally:
        gone = instance.run("deployment", "delete", name)
    assert gone.returncode == 0, gone.stderr


def test_nothing_known_to_talk_to(tmp_path: Any, shell: Any) -> None:
    done = shell.run("model", "list")
    assert done.returncode == 4
    assert "yunhe up" in done.stderr
