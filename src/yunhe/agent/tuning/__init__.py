"""The tuner: carries adaptations out in a centre. Candidates run as replicas do; what was measured is on disk first."""
