"""Core: identifiers, units, time, errors and the layout of a data directory.

Knows: nothing of the product's nouns. Standard library only; every room and process may import it.
"""
