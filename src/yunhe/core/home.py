"""The layout of one instance's data directory (``YUNHE_HOME``).

Every process finds the others' files through this one table. Directories with secrets are 0700, secret files 0600.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def default_home() -> Path:
    """``YUNHE_HOME``, or ``~/.local/share/yunhe``."""
    return Path(os.environ.get("YUNHE_HOME") or Path.home() / ".local/share/yunhe").expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Home:
    """Where an instance keeps its things."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file, when no other database is configured."""
        return self.root / "yunhe.db"

    @property
    def secrets(self) -> Path:
        """0700: ``pepper`` (HMAC key of API keys), ``internal_token`` (gateway to control), ``signing_key`` (Ed25519,
        signs recipes), 0600 each, hex text.
        """
        return self.root / "secrets"

    @property
    def credentials(self) -> Path:
        """0600 JSON that lets the CLI on this machine sign in: base_url, api_key, manage_key."""
        return self.root / "credentials.json"

    @property
    def run(self) -> Path:
        """Pid files, addresses, sockets: true only while the instance runs."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log file a process, rotated."""
        return self.root / "logs"

    @property
    def gateway(self) -> Path:
        """Usage spool, last snapshot, in-flight journal and shared limits of the gateway's workers."""
        return self.root / "gateway"

    @property
    def models(self) -> Path:
        """Weights that users added, named by sha256."""
        return self.root / "models"

    @property
    def agent(self) -> Path:
        """The local centre's agent: its identity, last desired state, workload directories."""
        return self.root / "agent"

    @property
    def engines(self) -> Path:
        """Engines installed by ``yunhe engine install``: one directory each, ``engine.json`` in it once it is whole."""
        return self.root / "engines"

    def make(self) -> None:
        """Create every directory. Raises OSError when one cannot be made."""
        self.root.mkdir(parents=True, exist_ok=True)
        for path in (self.secrets, self.run, self.logs, self.gateway, self.models, self.agent):
            path.mkdir(mode=0o700, exist_ok=True)
