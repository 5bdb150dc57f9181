"""Reason phrases of the statuses that the gateway answers with, control's among them."""

from http import HTTPStatus
from typing import Final

REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode() for status in HTTPStatus}
