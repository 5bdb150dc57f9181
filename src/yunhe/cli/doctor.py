"""`yunhe doctor`: what is wrong, and the next step."""

from __future__ import annotations

from dataclasses import asdict

import click

from yunhe.cli import exits
from yunhe.cli.connect import configuration
from yunhe.cli.invocation import current, local_command
from yunhe.cli.output import emit_json, state_style


@click.command("doctor")
@local_command
def command() -> int:
    """Look at everything that Yunhe needs; exit status 1 when something will not work.

    Needs no running instance. Each finding has a section in docs/troubleshooting.md.
    """
    from yunhe.launcher.checks.doctor import examine

    settings = configuration().settings
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not current().as_json:
            click.echo(f"{state_style(finding.state)}{' ' * (6 - len(finding.state))}{finding.check}: {finding.found}")
            if finding.next_step:
                click.echo(f"      -> {finding.next_step}")
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    if current().as_json:
        emit_json({"ok": failed == 0, "findings": [asdict(finding) for finding in findings]})
    else:
        click.echo(f"\n{len(findings)} findings: {failed} to repair, {warned} to know about.")
    return exits.FAILED if failed else exits.OK
