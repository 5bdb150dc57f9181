"""Prompts of wanted lengths: real prose, never twice the same beginning, so that no prefix cache shortens the work."""

from __future__ import annotations

import random
from typing import Final

from yunhe.adapt.fidelity_texts import reference_texts

#: English prose has about so many tokens a word; replaced by what the model itself counts.
TOKENS_PER_WORD: Final = 1.35


class PromptMaker:
    """Draws pieces of the package's own prose."""

    def __init__(self, seed: int) -> None:
        prose = [text.text for text in reference_texts() if text.entry.text_class == "prose"]
        self._words = " ".join(prose).split()
        self._random = random.Random(seed)
        self._seed = seed
        self._tokens_per_word = TOKENS_PER_WORD

    def learn(self, words: int, tokens: int) -> None:
        """The model made so many tokens of ``words`` words."""
        if tokens > 0:
            self._tokens_per_word = tokens / words

    def make(self, tokens: int, name: str) -> str:
        """A prompt of about so many tokens."""
        return self.words(max(1, round(tokens / self._tokens_per_word)), name)

    def words(self, count: int, name: str) -> str:
        """So many words, the first of which names the request."""
        start = self._random.randrange(len(self._words))
        drawn = [self._words[(start + n) % len(self._words)] for n in range(count - 1)]
        return " ".join([f"{self._seed}-{name}:", *drawn])
