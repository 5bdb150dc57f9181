"""Control: carries the rooms' decisions out.

The only process that touches the database. Knows every room and the store; runs controllers, answers agents and gateway
workers, and offers services to the API. Must not know HTTP frameworks' routes of the API, nor any product by name.
"""
