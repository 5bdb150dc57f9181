"""The routes, one module per noun: parse, ask a service, answer. No decisions here."""
