"""Fidelity measured on running engines: log-probabilities and answers of a candidate beside those of its reference."""
