"""Talking with a calibration, a process of its own, and showing what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from yunhe.cli.errors import CliError
from yunhe.cli.invocation import current
from yunhe.cli.output import cells, emit_rows, note

_SHOWN_TIERS: Final = 1024**2


class CalibrationFailed(CliError):
    """The calibration has an error to tell."""

    code = "calibration_failed"


def ask_calibration(*arguments: str) -> Iterator[dict[str, Any]]:
    """Its documents as they come. Raises CalibrationFailed with its words. Ends it when the caller stops reading."""
    argv = (sys.executable, "-P", "-m", "yunhe.agent.calibrate", *arguments)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            document = json.loads(line)
            if document["event"] == "failed":
                raise CalibrationFailed(document["message"], next_step=document["next_step"])
            if document["event"] == "progress" and document["line"] and not current().as_json:
                note(f"  {document['line']}")
            yield document
        if process.wait() != 0:
            raise CalibrationFailed(f"it ended with status {process.returncode}", next_step="See above.")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def show_calibration(found: dict[str, Any], path: str) -> None:
    """Tables of tiers, peaks and probes, what was rejected, and what to do with it."""
    cores = f", {found['cores']} cores" if found["cores"] else ""
    click.echo(f"{found['chip']} ({found['model_name']}{cores}), by {found['model']['name']}")
    rows = [
        [f"read {tier['working_set_bytes'] / _SHOWN_TIERS:.0f} MiB", f"{tier['bytes_per_s'] / 1e9:.1f} GB/s",
         f"{tier['own_share']:.0%}"]
        for tier in found["tiers"]
    ] + [
        [f"{peak['dtype']} ({peak['name']})", f"{peak['value'] / 1e9:.0f} G{_operations(peak['unit'])}/s",
         f"{peak['own_share']:.0%}"]
        for peak in found["peaks"]
    ]  # fmt: skip
    emit_rows(cells("measured", "rate", "of the cores", right=("rate", "of the cores")), rows)
    probes = [
        [engine["name"], engine["version"], *_probe(probe)] for engine in found["engines"] for probe in engine["probes"]
    ]
    numbers = ("TTFT ms", "TPOT ms", "spread", "tok/s", "foreign CPU", "windows", "rejected")
    emit_rows(cells("engine", "version", "load", *numbers, "", right=numbers), probes)
    for engine in found["engines"]:
        if engine["failure"]:
            note(f"{engine['name']}: not all was measured: {engine['failure']}")
    for text in found["notes"]:
        note(text)
    if any(not probe["quiet"] for engine in found["engines"] for probe in engine["probes"]):
        note("Other programs used the cores: intervals are wide. Run it again when the machine is quiet.")
    note(f"{found['duration_s']:.0f} s. Written to {path}. Next: yunhe plan MODEL --chip {found['chip']}")


def _operations(unit: str) -> str:
    return unit.removesuffix("_per_s")


def _probe(probe: dict[str, Any]) -> list[str]:
    return [
        probe["name"],
        f"{probe['ttft_s'] * 1000:.0f}",
        f"{probe['tpot_s'] * 1000:.1f}",
        f"{probe['spread']:.1%}",
        f"{probe['tokens_per_s']:.0f}",
        f"{probe['foreign_cpu_share']:.0%}",
        str(probe["windows"]),
        str(len(probe["rejected"])),
        "" if probe["quiet"] else "disturbed",
    ]
