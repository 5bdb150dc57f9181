"""Catalogue: models, recipes, and the Protocol of the engines that run them.

Knows what a model is (architecture, weights at a digest, licence, template), what a recipe is (model x chip x engine x
settings) and what an engine driver promises. Must not know centres' engines, users, money, or any engine by name.
"""
