from __future__ import annotations

import json
import logging

from yunhe.accounts.keys import make_text
from yunhe.control.log_file import JsonLines, redact


def test_credentials_are_cut_to_their_public_part() -> None:
    key, prefix = make_text("yh", bytes(range(40)))
    told = redact(f"key {key}, header Bearer abc.def, postgresql://user:hunter2@host/db")
    assert key not in told
    assert f"yh_{prefix}_***" in told
    assert "abc.def" not in told
    assert "hunter2" not in told
    assert "@host/db" in told


def test_a_record_is_one_line_of_json_with_its_traceback() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        record = logging.LogRecord("yunhe.x", logging.ERROR, "f", 1, "it %s", ("broke",), (type(error), error, None))
    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "yunhe.x", "it broke")
    assert "ValueError: two" in told["traceback"]
