"""Drivers: the only place that knows a product by name.

``engines`` run models, ``centres`` run workloads, ``chips`` find cards. Kinds do not know each other.
"""
