"""Chip drivers: one package for each maker's cards."""
