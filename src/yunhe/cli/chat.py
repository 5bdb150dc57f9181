"""`yunhe chat`: talk to a model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import chat_client
from yunhe.cli.errors import CliError
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import emit_json, note

if TYPE_CHECKING:
    from yunhe.sdk import Client


class NoModel(CliError):
    """No model answers right now."""

    code = "not_found"


@dataclass(slots=True)
class Answer:
    """One answer and how it came."""

    model: str
    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    #: Seconds from sending to the first piece of text; None when none came.
    ttft_s: float | None = None
    duration_s: float = 0.0
    #: Tokens after the first over the time after the first; None when there were not two.
    tokens_per_s: float | None = None
    served_by: str | None = None
    request_id: str | None = None

    def summary(self) -> str:
        """The measured figures in one line."""
        parts = [] if self.ttft_s is None else [f"{self.ttft_s * 1000:.0f} ms to first token"]
        if self.tokens_per_s is not None:
            parts.append(f"{self.tokens_per_s:.1f} tokens/s")
        if self.completion_tokens is not None:
            parts.append(f"{self.completion_tokens} tokens")
        if self.finish_reason == "length":
            parts.append("cut at the limit")
        return ", ".join([*parts, f"by {self.served_by}" if self.served_by else ""]).rstrip(", ")


@dataclass(slots=True)
class Conversation:
    """What was said so far, and how to ask on."""

    api: Client
    model: str
    max_tokens: int | None
    temperature: float | None
    messages: list[dict[str, str]] = field(default_factory=list)

    def ask(self, prompt: str, show: Callable[[str], None]) -> Answer:
        """Ask, pass the text on as it comes, and remember both sides. Raises ApiError, KeyboardInterrupt."""
        messages = [*self.messages, {"role": "user", "content": prompt}]
        answer = Answer(self.model)
        sent = time.monotonic()
        last = sent
        with self.api.chat.stream(
            self.model, messages, max_tokens=self.max_tokens, temperature=self.temperature
        ) as stream:
            for text in stream:
                last = time.monotonic()
                if answer.ttft_s is None:
                    answer.ttft_s = last - sent
                answer.text += text
                show(text)
            answer.duration_s = time.monotonic() - sent
            answer.finish_reason, answer.served_by = stream.finish_reason, stream.served_by
            answer.request_id = stream.request_id
            if stream.usage is not None:
                answer.prompt_tokens = stream.usage.prompt_tokens
                answer.completion_tokens = stream.usage.completion_tokens
        after_first_s = last - sent - (answer.ttft_s or 0.0)
        if answer.completion_tokens and answer.completion_tokens > 1 and after_first_s > 0:
            answer.tokens_per_s = (answer.completion_tokens - 1) / after_first_s
        self.messages = [*messages, {"role": "assistant", "content": answer.text}]
        return answer


@click.command("chat")
@click.argument("model", required=False)
@click.argument("prompt", nargs=-1)
@click.option("--system", help="What the model shall be and do.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 is the most likely answer each time.")
@remote_command
def command(
    model: str | None, prompt: tuple[str, ...], system: str | None, max_tokens: int | None, temperature: float | None
) -> None:
    """Talk to MODEL; the answer streams.

    With PROMPT or text on standard input, one answer; else a conversation. Without MODEL, the first that is served.
    """
    text = " ".join(prompt) or ("" if sys.stdin.isatty() else sys.stdin.read().strip())
    if not text and not sys.stdin.isatty():
        raise click.UsageError("nothing to ask: give a PROMPT, or text on standard input")
    with chat_client() as api:
        talk = Conversation(api, model or _first_model(api), max_tokens, temperature)
        if system:
            talk.messages.append({"role": "system", "content": system})
        if text:
            _once(talk, text)
        else:
            _converse(talk)


def _first_model(api: Client) -> str:
    served = api.chat.models()
    if not served:
        raise NoModel("no model is served", next_step="Serve one: yunhe deployment create MODEL")
    return served[0].id


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _once(talk: Conversation, prompt: str) -> None:
    if current().as_json:
        from dataclasses import asdict

        emit_json(asdict(talk.ask(prompt, lambda text: None)))
        return
    answer = talk.ask(prompt, _write)
    _write("\n")
    note(click.style(answer.summary(), dim=True))


def _converse(talk: Conversation) -> None:
    from yunhe.sdk import ApiError

    _edit_lines()
    note(click.style(f"{talk.model}. /new starts over, Ctrl-C stops an answer, Ctrl-D ends.", dim=True))
    opening = list(talk.messages)
    while True:
        try:
            prompt = input("> ").strip()
        except EOFError:
            note("")
            return
        if prompt == "/new":
            talk.messages = list(opening)
            continue
        if not prompt:
            continue
        try:
            answer = talk.ask(prompt, _write)
        except KeyboardInterrupt:
            note(click.style("\n(stopped)", dim=True))
        except ApiError as error:
            note(f"{click.style(f'error[{error.code}]:', fg='red')} {error.message}\nhint: {error.next_step}")
        else:
            _write("\n")
            note(click.style(answer.summary() + "\n", dim=True))


def _edit_lines() -> None:
    """Arrow keys and history at the prompt, where Python has them."""
    import importlib.util

    if importlib.util.find_spec("readline"):
        importlib.import_module("readline")
