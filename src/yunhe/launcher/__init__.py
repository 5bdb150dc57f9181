"""Launcher: starts, watches and stops the processes of one machine (`yunhe up`), and examines that machine.

Knows the command lines of control, agent and gateway workers, ``core``, and of the catalogue only which model every
instance starts with; nothing of what the processes do.
"""
