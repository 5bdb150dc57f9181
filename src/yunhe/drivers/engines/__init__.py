"""Engine drivers: one package for each inference engine."""
