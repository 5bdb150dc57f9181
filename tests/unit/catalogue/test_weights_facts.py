from __future__ import annotations

import pytest

from yunhe.catalogue.errors import BadWeights
from yunhe.catalogue.header import Header, HeaderValue, facts_of

LLAMA: dict[str, HeaderValue] = {
    "general.architecture": "llama",
    "general.type": "model",
    "general.license": "apache-2.0",
    "llama.block_count": 30,
    "llama.context_length": 8192,
    "llama.embedding_length": 576,
    "llama.attention.head_count": 9,
    "llama.attention.head_count_kv": 3,
    "tokenizer.chat_template": "{{ messages }}",
}


def header(parameters: int = 1000, tokens: int = 49152, **changes: HeaderValue | None) -> Header:
    metadata = {**LLAMA, **{key.replace("__", "."): value for key, value in changes.items()}}
    return Header({key: value for key, value in metadata.items() if value is not None}, parameters, "q4_1", tokens)


def test_a_model_with_a_template_chats_and_completes() -> None:
    facts = facts_of(header())
    assert facts.capabilities == ("chat", "completions")
    assert (facts.architecture, facts.context_length, facts.licence) == ("llama", 8192, "apache-2.0")
    assert facts.shape["head_size"] == 64
    assert (facts.shape["layers"], facts.shape["kv_heads"], facts.shape["vocabulary"]) == (30, 3, 49152)


def test_a_model_without_a_template_only_completes() -> None:
    assert facts_of(header(tokenizer__chat_template=None)).capabilities == ("completions",)


def test_a_pooled_model_makes_embeddings() -> None:
    assert facts_of(header(llama__pooling_type=1)).capabilities == ("embeddings",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general__type": "adapter"}, "holds a adapter"),
        ({"split__count": 3}, "one part of a split model"),
        ({"general__architecture": None}, "no architecture"),
        ({"llama__context_length": None}, "context_length is missing"),
        ({"llama__context_length": -4}, "context_length is missing"),
        ({"tokenizer__chat_template": "x" * 300_000}, "template is longer"),
    ],
)
def test_what_cannot_be_served_is_refused_with_its_reason(changes: dict[str, HeaderValue | None], words: str) -> None:
    with pytest.raises(BadWeights, match=words):
        facts_of(header(**changes))  # type: ignore[arg-type]


def test_no_tensors_or_no_tokenizer_is_refused() -> None:
    with pytest.raises(BadWeights, match="no tensors"):
        facts_of(header(parameters=0))
    with pytest.raises(BadWeights, match="no tokenizer"):
        facts_of(header(tokens=0))
