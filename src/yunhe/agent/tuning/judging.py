"""Judges candidates: the reference once, then each candidate's numerics against it."""
