"""`yunhe chat`, once and as a conversation on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

MODEL = "smollm2-135m-instruct"
PROMPT = ("Say hello in one short sentence.", "--temperature", "0", "--max-tokens", "24")


def test_chat_streams_real_text_and_measures_it(instance: Any) -> None:
    done = instance.run("chat", MODEL, *PROMPT)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 2
    assert "to first token" in done.stderr
    assert "tokens/s" in done.stderr


def test_chat_as_json_carries_the_figures(instance: Any) -> None:
    answer = instance.json("chat", MODEL, *PROMPT)
    assert answer["text"].strip()
    assert answer["finish_reason"] in ("stop", "length")
    assert 0 < answer["completion_tokens"] <= 24
    assert answer["ttft_s"] > 0
    assert answer["served_by"].startswith("local; ")
    assert answer["request_id"].startswith("req_")


def test_chat_reads_the_prompt_from_standard_input(instance: Any) -> None:
    done = instance.run("chat", MODEL, "--max-tokens", "8", stdin="What is water?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_chat_without_a_question_is_a_usage_error(instance: Any) -> None:
    assert instance.run("chat", MODEL).returncode == 2


def test_chat_with_an_unknown_model_says_so(instance: Any) -> None:
    done = instance.run("chat", "no-such-model", "hello")
    assert done.returncode == 3
    assert done.stderr.startswith("error[")
    assert "\n\nhint: " in done.stderr


def test_what_was_said_is_in_usage(instance: Any) -> None:
    answer = instance.json("chat", MODEL, *PROMPT)
    # The spool ships within moments; asking for the record by its id is what waits for it.
    for _ in range(600):
        records = instance.json("usage", "--records", "--limit", "1000")
        found = [record for record in records if record["request_id"] == answer["request_id"]]
        if found:
            break
    assert found[0]["completion_tokens"] == answer["completion_tokens"]
    assert found[0]["prompt_tokens"] == answer["prompt_tokens"]


def test_conversation_on_a_terminal_ends_with_end_of_input(instance: Any) -> None:
    master, slave = pty.openpty()
    yunhe = Path(sys.executable).parent / "yunhe"
    command = [str(yunhe), "chat", MODEL, "--max-tokens", "8"]
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=instance.env(), cwd=instance.work)
    os.close(slave)
    shown = b""
    try:
        for answer_with in (b"Hello\n", b"\x04"):
            shown += read_until(master, b"> ", shown)
            os.write(master, answer_with)
        assert child.wait(120) == 0
    finally:
        child.kill()
        child.wait()
        os.close(master)
    assert b"Ctrl-D" in shown
    assert b"to first token" in shown


def read_until(descriptor: int, mark: bytes, before: bytes) -> bytes:
    """Read on until ``mark`` stands once more than in what was read before."""
    wanted = before.count(mark) + 1
    read = b""
    while (before + read).count(mark) < wanted:
        read += os.read(descriptor, 4096)
    return read
