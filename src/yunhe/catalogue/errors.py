"""What can go wrong with models."""

from __future__ import annotations

from yunhe.core.errors import InvalidRequest


class BadWeights(InvalidRequest):
    """The weights file cannot be used."""

    code = "bad_weights"
    default_next_step = "Check the file: download or convert it again, then add it again."


class UnknownModelType(InvalidRequest):
    """This kind of model is not known."""

    code = "unknown_model_type"
    default_next_step = (
        "Use a model of a known kind, or describe this one by hand: an entry in the catalogue's file of its family."
    )


class BadModelConfig(InvalidRequest):
    """The model's configuration cannot be used."""

    code = "bad_model_config"
    default_next_step = "Check config.json of the model: download it again, or correct the field named in details."


class NoWeights(InvalidRequest):
    """The model has no weights here."""

    code = "no_weights"
    default_next_step = (
        "Add the directory with its safetensors weights under another name (yunhe model add DIRECTORY --name NAME), "
        "or attach a server that has them (yunhe deployment create --external URL --model NAME)."
    )
