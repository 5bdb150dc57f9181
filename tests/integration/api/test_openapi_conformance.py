"""What the OpenAPI document says is what the app does: schemathesis asks every operation, sensibly and not.

The app is served by the server that control uses, on a port of the system's choice, in a thread of its own.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

SEED = 20261123
#: Random examples an operation; the examples and coverage phases come on top.
EXAMPLES_MAX = 3
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "negative_data_rejection",
    "ignored_auth",
)


def conformance(base_url: str, token: str | None) -> tuple[int, list[str]]:
    """(requests made, what was found wrong) of one run as the holder of this token."""
    settings: dict[str, Any] = {
        "base-url": base_url,
        "seed": SEED,
        "continue-on-failure": True,
        "headers": {} if token is None else {"Authorization": f"Bearer {token}"},
        "generation": {
            # Whoever nobody is gets the same answer to sense and nonsense: sense is enough.
            "mode": "positive" if token is None else "all",
            "max-examples": EXAMPLES_MAX,
            "no-shrink": True,
            "database": "none",
        },
        "checks": {"enabled": False} | {name: {"enabled": True} for name in CHECKS},
        "phases": {"stateful": {"enabled": False}},
        "operations": [
            # It would end the session that the others need.
            {"include-operation-id": "session_delete", "enabled": False},
            # A model may be called "external" and can be read and deleted under this address.
            {"include-operation-id": "model_add_external", "checks": {"allow_header_conformance": {"enabled": False}}},
            # For GET the router takes the word for a recipe's id before it sees that it is none.
            {
                "include-operation-id": "recipe_import",
                "checks": {"allow_header_conformance": {"enabled": False}, "unsupported_method": {"enabled": False}},
            },
        ],
    }
    document = requests.get(f"{base_url}/api/v1/openapi.json", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(settings))
    made, wrong = 0, []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            made += len(event.recorder.interactions)
            for case_id, checks in event.recorder.checks.items():
                case = event.recorder.cases[case_id].value
                wrong += [
                    f"{case.method} {case.formatted_path}: {check.name}: {check.failure_info.failure}"
                    for check in checks
                    if check.failure_info is not None
                ]
        elif isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(str(event.info if isinstance(event, events.NonFatalError) else event.exception))
    return made, wrong


@pytest.mark.slow
@pytest.mark.parametrize("who", ["nobody", "admin"])
def test_every_answer_is_a_documented_one(
    seeded: Path, instance_over: Any, serving: Any, tokens: Any, tmp_path: Path, who: str
) -> None:
    root = tmp_path / "home"
    shutil.copytree(seeded, root)
    with serving(instance_over, root) as base_url:
        made, wrong = conformance(base_url, tokens(root).get(who))
    assert wrong == []
    assert made > 300
