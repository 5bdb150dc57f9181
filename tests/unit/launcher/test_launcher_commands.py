from __future__ import annotations

from pathlib import Path
from signal import SIGINT, SIGTERM

from yunhe.core.home import Home
from yunhe.launcher.commands import ChildSpec, specs


def all_specs(database_url: str | None = None) -> dict[str, ChildSpec]:
    found = specs(
        Home(Path("/data")),
        host="127.0.0.1",
        port=8420,
        workers=3,
        control_fd=7,
        control_port=4711,
        database_url=database_url,
        environ={"PATH": "/bin", "YUNHE_DATABASE_URL": "postgresql://old", "YUNHE_API_KEY": "yh_secret"},
    )
    return {spec.name: spec for spec in found}


def test_one_control_one_agent_and_as_many_gateways_as_asked() -> None:
    assert list(all_specs()) == ["control", "agent", "gateway-0", "gateway-1", "gateway-2"]


def test_only_control_knows_the_database_and_nobody_a_callers_key() -> None:
    found = all_specs("postgresql://new")
    assert found["control"].env["YUNHE_DATABASE_URL"] == "postgresql://new"
    assert all("YUNHE_DATABASE_URL" not in found[name].env for name in ("agent", "gateway-0"))
    assert all("YUNHE_API_KEY" not in spec.env for spec in found.values())
    assert "postgresql" not in repr(found["control"])


def test_control_inherits_its_socket() -> None:
    control = all_specs()["control"]
    assert control.pass_fds == (7,)
    assert control.argv[control.argv.index("--fd") + 1] == "7"


def test_agent_is_asked_to_take_its_workloads_along() -> None:
    found = all_specs()
    assert found["agent"].stop_signal is SIGINT
    assert found["control"].stop_signal is found["gateway-0"].stop_signal is SIGTERM


def test_everybody_knows_the_data_directory_and_is_safe_from_the_current_one() -> None:
    for spec in all_specs().values():
        assert spec.argv[spec.argv.index("--home") + 1] == "/data"
        assert "-P" in spec.argv
