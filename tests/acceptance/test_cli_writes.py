"""Commands that change things, from both sides: what they say, and what is so afterwards."""

from __future__ import annotations

import json
import stat
from typing import Any

MODEL = "smollm2-135m-instruct"


def test_key_is_made_shown_and_revoked(instance: Any) -> None:
    made = instance.run("key", "create", "ci", "--expires", "30d", "--rpm", "60", "--model", MODEL)
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    prefix = secret.split("_")[1]
    shown = instance.json("key", "show", prefix)
    assert (shown["name"], shown["rpm_limit"], shown["models"]) == ("ci", 60, [MODEL])
    assert shown["expires_at"] is not None
    assert secret not in instance.run("key", "list").stdout
    assert instance.run("usage", "--key", secret).returncode == 0
    revoked = instance.json("key", "revoke", prefix)
    assert revoked["revoked_at"] is not None
    assert instance.run("usage", "--key", secret).returncode == 4


def test_project_gets_limits_credit_and_members(instance: Any) -> None:
    instance.json("project", "create", "lab", "--rpm", "100")
    changed = instance.json("project", "limits", "lab", "--rpm", "none", "--tpm", "5000")
    assert (changed["rpm_limit"], changed["tpm_limit"]) == (None, 5000)
    balance = instance.json("balance", "add", "lab", "2.5", "--reference", "invoice-1")
    assert balance["balance_micro"] == 2_500_000
    again = instance.json("balance", "add", "lab", "2.5", "--reference", "invoice-1")
    assert again["balance_micro"] == 2_500_000
    less = instance.json("balance", "add", "lab", "-0.5")
    assert less["balance_micro"] == 2_000_000
    instance.json("user", "create", "mei", "--password-stdin", stdin="correct horse battery\n")
    member = instance.json("project", "add-member", "lab", "mei")
    assert member["role"] == "member"
    assert "mei" in instance.run("project", "members", "lab").stdout


def test_price_is_followed_by_a_later_one(instance: Any) -> None:
    instance.json("model", "add", "--external", "--name", "far/model", "--context-length", "4096")
    first = instance.json("price", "set", "far/model", "--input", "1", "--output", "2.000001")
    assert (first["input_micro_per_mtok"], first["output_micro_per_mtok"]) == (1_000_000, 2_000_001)
    instance.json("price", "set", "far/model", "--input", "3", "--output", "4")
    listed = instance.json("price", "list", "--model", "far/model")
    assert len(listed) == 2
    removed = instance.run("model", "remove", "far/model")
    assert removed.returncode == 0, removed.stderr
    assert instance.run("model", "show", "far/model").returncode == 3


def test_centre_is_made_with_a_join_token(instance: Any) -> None:
    made = instance.run("centre", "create", "hangzhou", "--driver", "local")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("yj_")
    assert "yunhe join" in made.stderr
    states = {centre["name"]: centre["state"] for centre in instance.json("centre", "list")}
    assert states["hangzhou"] == "never_joined"


def test_deployment_scales_to_nothing_and_back(instance: Any) -> None:
    name = "second"
    instance.json("deployment", "create", MODEL, "--name", name, "--replicas", "0")
    shown = instance.json("deployment", "show", name)
    assert (shown["replicas"], shown["state"]) == (0, "stopped")
    scaled = instance.json("deployment", "scale", name, "1")
    assert (scaled["ready_replicas"], scaled["state"]) == (1, "ready")
    instance.json("deployment", "delete", name)
    assert instance.run("deployment", "show", name).returncode == 3


def test_login_keeps_a_key_that_only_its_owner_can_read(instance: Any, tmp_path: Any) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path), "YUNHE_HOME": ""}
    signed_in = instance.run(
        "login", instance.console_url, "--user", "admin", "--password-stdin", "--json",
        stdin=f"{instance.admin_password}\n", env=env,
    )  # fmt: skip
    assert signed_in.returncode == 0, signed_in.stderr
    path = tmp_path / "yunhe" / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(signed_in.stdout)["user"] == "admin"
    assert instance.admin_password not in path.read_text()
    listed = instance.run("user", "list", "--json", env=env)
    assert listed.returncode == 0, listed.stderr
    assert instance.run("login", "--forget", env=env).returncode == 0
    assert not path.exists()


def test_login_with_a_wrong_password_is_refused(instance: Any, tmp_path: Any) -> None:
    done = instance.run(
        "login", instance.base_url, "--user", "admin", "--password-stdin", stdin="wrong password\n",
        env={"XDG_CONFIG_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 4
    assert "error[bad_credentials]" in done.stderr
    assert not (tmp_path / "yunhe").exists()
