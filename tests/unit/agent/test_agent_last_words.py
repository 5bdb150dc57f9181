from __future__ import annotations

import pytest

from yunhe.agent.last_words import LENGTH_MAX, last_words

ENGINE = """0.00.006.058 I srv          init: loading model
0.00.006.224 E gguf_init_from_reader: invalid magic characters: 'garb', expected 'GGUF'
0.00.006.404 E llama_model_load: error loading model: failed to load model from bad.gguf
0.00.007.304 E srv          init: exiting due to model loading error
"""


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (ENGINE, "gguf_init_from_reader: invalid magic characters: 'garb', expected 'GGUF'"),
        ('Traceback (most recent call last):\n  File "x"\nValueError: nope\n', "ValueError: nope"),
        ("all is well\nbye\n\n", "bye"),
        ("12 bottles\n", "12 bottles"),
        ("2026-11-23 18:00:00,123 ERROR it broke\n", "ERROR it broke"),
        ("", ""),
        ("\x1b[31mfailed\x1b[0m\n", "[31mfailed [0m"),
    ],
)
def test_the_first_trouble_or_else_the_last_line_is_quoted(tail: str, words: str) -> None:
    assert last_words(tail) == words


def test_a_long_line_is_cut() -> None:
    assert len(last_words("error " * 1000)) == LENGTH_MAX
