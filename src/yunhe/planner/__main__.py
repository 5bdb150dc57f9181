"""``python -m yunhe.planner``: one ask as JSON on standard input, one answer as JSON on standard output.

Exit status 0 with an answer, 1 with an error in it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# One thread: arrays are short, and the machine is shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import msgspec

from yunhe.core.errors import YunheError
from yunhe.planner.documents import Answer, Ask, Failure


def answer(ask: Ask) -> Answer:
    """Carry out. Raises YunheError."""
    from yunhe.catalogue import chip_catalogue
    from yunhe.planner.planning import known_architectures, known_chips, make_plan, make_report

    if ask.plan is not None:
        return Answer(plan=make_plan(ask.plan))
    if ask.chips is not None:
        chips = known_chips(ask.chips.names)
        if ask.chips.diff and len(chips) == 2:
            return Answer(chips=chips, differences=tuple(chip_catalogue.diff(chips[0].chip, chips[1].chip)))
        return Answer(chips=chips)
    if ask.architectures is not None:
        return Answer(architectures=known_architectures(ask.architectures))
    if ask.validate is not None:
        return Answer(report=make_report(Path(ask.validate.path)))
    return Answer(error=Failure("bad_request", "nothing was asked"))


def main() -> int:
    """See the module."""
    try:
        made = answer(msgspec.json.decode(sys.stdin.buffer.read(), type=Ask))
    except msgspec.DecodeError as error:
        made = Answer(error=Failure("bad_request", f"the ask cannot be read: {error}"))
    except YunheError as error:
        made = Answer(error=Failure(error.code, error.message, error.next_step or ""))
    sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")
    return 1 if made.error else 0


if __name__ == "__main__":
    sys.exit(main())
