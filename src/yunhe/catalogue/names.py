"""Names of models, deployments and centres: what is allowed, and how one is made from a file's name."""

from __future__ import annotations

import re
from typing import Final

from yunhe.core.errors import InvalidRequest

#: Lowercase letters, digits, dots, dashes, underscores; parts joined by single slashes.
_MODEL_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?(?:/[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)*")
_PLAIN_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
MODEL_NAME_MAX: Final = 128
PLAIN_NAME_MAX: Final = 64
_RULE: Final = "lowercase letters, digits, dots, dashes and underscores, beginning and ending with a letter or digit"


def check_model_name(name: str, field: str = "body.name") -> str:
    """The name itself. Raises InvalidRequest with the rule when it is not one for a model (slashes allowed)."""
    return _checked(name, _MODEL_NAME, MODEL_NAME_MAX, field, f"{_RULE}, parts joined by /")


def check_plain_name(name: str, field: str = "body.name") -> str:
    """The name itself. Raises InvalidRequest with the rule when it is not one for a deployment or centre."""
    return _checked(name, _PLAIN_NAME, PLAIN_NAME_MAX, field, _RULE)


def plain_name_of(model_name: str) -> str:
    """A deployment's default name: the model's with dashes for slashes, shortened to fit."""
    return model_name.replace("/", "-")[:PLAIN_NAME_MAX].strip("._-")


def model_name_of(file_stem: str) -> str:
    """A model's name from its file's: lowercase, everything else but letters, digits, dots and underscores a dash.

    Empty when nothing is left of it.
    """
    return re.sub(r"[^a-z0-9._]+", "-", file_stem.lower())[:MODEL_NAME_MAX].strip("._-")


def _checked(name: str, shape: re.Pattern[str], length_max: int, field: str, rule: str) -> str:
    if len(name) > length_max:
        raise InvalidRequest(f"{field} is longer than {length_max} characters", fields=[f"{field}: too long"])
    if shape.fullmatch(name) is None:
        raise InvalidRequest(f"{name!r} is not a name: {rule}", fields=[f"{field}: {rule}"])
    return name
