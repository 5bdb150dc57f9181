"""The fidelity certificates in a model's object."""

from dataclasses import replace

import msgspec

from yunhe.adapt.signing import Envelope, SigningKey, sign
from yunhe.store.gateway_entries import certificate_entry
from yunhe.testing.gateway_instance import MODEL, GatewayInstance
from yunhe.testing.http_client import fetch
from yunhe.testing.recipes import sample_recipe

KEY = SigningKey(b"s" * 32)


async def test_a_models_object_shows_the_certificates_of_what_serves_it(instance: GatewayInstance) -> None:
    envelope = msgspec.json.decode(sign(sample_recipe(), KEY), type=Envelope)
    known = instance.control.models[MODEL]
    instance.control.models[MODEL] = replace(known, certificates=(certificate_entry(envelope),))
    instance.add_model("plain")
    worker = await instance.start()
    found = (await fetch(worker.port, "GET", f"/v1/models/{MODEL}", key=instance.key)).json()
    assert (found["id"], found["object"]) == (MODEL, "model")
    assert found["yunhe"]["certificates"] == [
        {
            "recipe_id": envelope.recipe_id,
            "engine": "fake 1.2.0",
            "chip": "cpu-test-one",
            "use_class": "chat",
            "verdict": "passed",
            "kl_nats": {"value": 0.0026, "low": 0.00247, "high": 0.00273, "confidence": 0.95},
            "top1_share": {"value": 0.95, "low": 0.9405, "high": 0.9595, "confidence": 0.95},
            "positions": 2400,
            "dated": "2026-09-21T14:13:20Z",
            "key_id": KEY.id,
        }
    ]
    listed = (await fetch(worker.port, "GET", "/v1/models", key=instance.key)).json()
    assert all("yunhe" not in one for one in listed["data"])
    assert "yunhe" not in (await fetch(worker.port, "GET", "/v1/models/plain", key=instance.key)).json()
