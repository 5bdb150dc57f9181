"""Centre drivers: one package for each way of running workloads."""
