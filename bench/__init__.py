"""The bench: Yunhe's gateway beside others, on the same cores, in front of the same upstream."""
