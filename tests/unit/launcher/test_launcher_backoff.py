from __future__ import annotations

from yunhe.launcher.backoff import CAP_S, SOUND_S, Backoff


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff()
    delays = [backoff.after(0.0) for _ in range(100)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays == sorted(delays)
    assert delays[-1] == CAP_S
    assert backoff.failures == 100


def test_a_sound_run_begins_anew() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.after(1.0)
    assert backoff.after(SOUND_S) == 0.1
    assert backoff.failures == 1
