"""Small questions to this machine's own processes; no proxy, no retry, short time-outs."""

from __future__ import annotations

import http.client
import json
from typing import Any, Final

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024


def get_json(host: str, port: int, path: str, *, key: str | None = None, timeout_s: float = 2.0) -> tuple[int, Any]:
    """Status and parsed JSON (None when it is no JSON). Raises OSError when nobody answers in time."""
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        connection.request("GET", path, headers={**headers, "Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX)
    except http.client.HTTPException as error:
        raise ConnectionError(f"no HTTP answer: {error}") from error
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None
