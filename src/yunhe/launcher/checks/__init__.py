"""Checks: what `yunhe doctor` looks at.

Each module looks at one kind of thing and names the next step; none changes anything.
Every name of a finding has a section of that title in docs/troubleshooting.md.
"""
