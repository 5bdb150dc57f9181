"""What can go wrong with models."""

from __future__ import annotations

from yunhe.core.errors import InvalidRequest


class BadWeights(InvalidRequest):
    """The weights file cannot be used."""

    code = "bad_weights"
    default_next_step = "Check the file: download or convert it again, then add it again."
