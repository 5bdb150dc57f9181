"""What is expected of a candidate before anything was measured: only its rank matters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from yunhe.catalogue.model import SettingValue

#: Names under which engines know how many requests they serve at once.
SLOT_SETTINGS: Final = ("slots", "max_num_seqs")
#: Weights are read once for all requests of a step, so a step of several takes hardly longer until arithmetic binds:
#: measured on two cores, eight at once gave about three times the tokens of one.
_BATCH_EXPONENT: Final = 0.55
#: Settings that measurements on processors found to pay; each as a factor of the speed.
_USUAL_GAINS: Final[Mapping[tuple[str, SettingValue], float]] = {
    ("thread_wait", "steady"): 1.15,
    ("huge_pages", True): 1.10,
    ("kv_type", "q8_0"): 0.95,
    ("kv_cache_dtype", "q8_0"): 0.95,
    ("flash_attention", "off"): 0.90,
    ("repack", False): 0.60,
    ("speculative", "ngram"): 0.90,
}


def expected_speed(settings: Mapping[str, SettingValue], concurrency: int, engine: str = "") -> float:
    """Relative output tokens a second with so many requests in flight; larger is better."""
    slots = next((int(settings[name]) for name in SLOT_SETTINGS if name in settings), concurrency)
    served = max(1, min(slots, concurrency))
    # Slots that nobody uses cost memory and a little time.
    idle = max(0, slots - concurrency)
    speed: float = served**_BATCH_EXPONENT * (1.0 - 0.01 * math.log2(1 + idle))
    for setting, factor in _USUAL_GAINS.items():
        if settings.get(setting[0]) == setting[1]:
            speed *= factor
    threads = settings.get("threads")
    if isinstance(threads, int) and not isinstance(threads, bool):
        speed *= float(threads) ** 0.7
    return speed
