"""What `yunhe rollout` refuses before it talks to anybody."""

from __future__ import annotations

import pytest

from yunhe.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give either --recipe ID or --set"),
        (("--recipe", "rcp_1", "--set", "slots=8"), "give either --recipe ID or --set"),
        (("--set", "slots"), "write NAME=VALUE"),
        (("--set", "slots=8", "--share", "0"), "0 is not in the range"),
        (("--set", "slots=8", "--requests", "501"), "501 is not in the range"),
    ],
)
def test_a_wrong_start_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert main(["rollout", "start", "m", *arguments]) == 2
    assert words in capsys.readouterr().err
