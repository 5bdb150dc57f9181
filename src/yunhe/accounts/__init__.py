"""Accounts: who may do what.

Knows organisations, projects, users, memberships, roles and API keys. Decides whether a credential is good and
whether a principal may act. Must not know money, cards or models, nor how any of it is stored.
"""
