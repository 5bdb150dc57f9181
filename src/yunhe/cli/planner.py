"""Asks the planner, a process of its own: catalogues and predictor need no server."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from yunhe.cli.errors import CliError


class PlannerFailed(CliError):
    """The planner has no answer."""

    code = "bad_request"


class NotInCatalogue(PlannerFailed):
    """A name that no catalogue has."""

    code = "not_found"


def ask_planner(ask: dict[str, Any]) -> dict[str, Any]:
    """Its answer. Raises PlannerFailed with its words."""
    argv = (sys.executable, "-P", "-m", "yunhe.planner")
    done = subprocess.run(argv, input=json.dumps(ask).encode(), stdout=subprocess.PIPE, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise PlannerFailed(
            f"the planner ended with status {done.returncode}", next_step="See its words above."
        ) from None
    error = answer.get("error")
    if error:
        kind = NotInCatalogue if error["code"] == NotInCatalogue.code else PlannerFailed
        raise kind(error["message"], next_step=error.get("next_step", ""))
    return answer
