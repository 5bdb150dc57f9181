"""Drivers: the only place that knows a product by name.

``engines`` run models, ``centres`` run workloads, ``chips`` find cards. Drivers of different kinds do not know each other.
"""
