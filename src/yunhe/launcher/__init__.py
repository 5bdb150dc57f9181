"""Launcher: starts, watches and stops the processes of one machine (`yunhe up`).

Knows the command lines of control, agent and gateway workers, and ``core``; nothing of what they do.
"""
