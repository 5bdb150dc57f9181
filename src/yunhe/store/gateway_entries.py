"""The rooms' records as gateway workers hold them (serve/snapshot.py)."""

from __future__ import annotations

from typing import Final

from yunhe.accounts.model import ApiKey, Project
from yunhe.adapt.recipe_fields import Estimate
from yunhe.adapt.signing import Envelope
from yunhe.catalogue.model import Model
from yunhe.ledger.model import Price
from yunhe.serve.model import Replica, ReplicaState
from yunhe.serve.snapshot import (
    Bounded,
    CertificateEntry,
    KeyEntry,
    ModelEntry,
    PriceEntry,
    ProjectEntry,
    ReplicaEntry,
)

#: States in which gateways must know a replica.
ROUTED_STATES: Final = frozenset({ReplicaState.READY, ReplicaState.DRAINING})
#: For a replica whose speed nobody has measured or declared: small, so that a measured one is preferred.
ASSUMED_TOKENS_PER_S: Final = 10.0


def key_entry(key: ApiKey) -> KeyEntry:
    """A key that calls may be made with."""
    return KeyEntry(
        prefix=key.prefix,
        key_id=key.id,
        digest=key.digest,
        project_id=key.project_id,
        scopes=tuple(sorted(key.scopes)),
        expires_at=key.expires_at,
        rpm_limit=key.rpm_limit,
        tpm_limit=key.tpm_limit,
        models=key.models,
    )


def project_entry(project: Project, available_micro: int) -> ProjectEntry:
    """A project with the credit that nobody has leased."""
    return ProjectEntry(
        project_id=project.id,
        name=project.name,
        rpm_limit=project.rpm_limit,
        tpm_limit=project.tpm_limit,
        suspended_reason=project.suspended_reason,
        available_micro=available_micro,
    )


def certificate_entry(envelope: Envelope) -> CertificateEntry:
    """The fidelity of a signed recipe; the caller has checked the signature."""
    recipe = envelope.recipe
    found = recipe.fidelity
    return CertificateEntry(
        recipe_id=envelope.recipe_id,
        engine=f"{recipe.engine.build.name} {recipe.engine.build.version}",
        chip=recipe.chip.chip_id,
        use_class=found.use_class,
        verdict=found.verdict,
        kl_nats=_bounded(found.kl_nats),
        top1_share=_bounded(found.top1_share),
        positions=found.positions,
        made_at=recipe.made_at_unix_s,
        key_id=envelope.key_id,
    )


def _bounded(estimate: Estimate) -> Bounded:
    interval = estimate.interval
    if interval is None:
        return Bounded(estimate.value, None, None, None)
    return Bounded(estimate.value, interval.low, interval.high, interval.confidence)


def model_entry(model: Model, price: Price | None, certificates: tuple[CertificateEntry, ...] = ()) -> ModelEntry:
    """A model with the price in force, and the certificates of the recipes that serve it."""
    return ModelEntry(
        name=model.name,
        created_at=int(model.created_at),
        owned_by=model.owned_by,
        context_length=model.context_length,
        capabilities=model.capabilities,
        price=PriceEntry(price.id, price.input_micro_per_mtok, price.output_micro_per_mtok) if price else None,
        certificates=certificates,
    )


def replica_entry(replica: Replica, centre: str) -> ReplicaEntry | None:
    """A replica that gateways must know; None for any other, or one without an address yet."""
    if replica.state not in ROUTED_STATES or replica.url is None:
        return None
    external = replica.external
    return ReplicaEntry(
        replica_id=replica.id,
        deployment_id=replica.deployment_id,
        model=replica.model,
        url=replica.url,
        upstream_model=replica.upstream_model or replica.model,
        api_key=replica.engine_key or (external.api_key if external else None),
        state=replica.state.value,
        slots=replica.slots,
        tokens_per_s=replica.tokens_per_s or (external.tokens_per_s if external else None) or ASSUMED_TOKENS_PER_S,
        served_by=_served_by(replica, centre),
        usage_probe=replica.usage_probe,
        share=replica.share,
    )


def _served_by(replica: Replica, centre: str) -> str:
    """``centre; chip; engine; recipe`` as a header's value: printable ASCII."""
    chip = replica.chip or (replica.external.chip if replica.external else "unknown")
    words = "; ".join((centre, chip, replica.recipe.engine, replica.recipe.name))
    return "".join(char if " " <= char <= "~" else "?" for char in words)
