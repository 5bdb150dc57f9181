"""Testing: scripted counterparts that tests, benches and demos share.

Each is called what it is (fake engine, fake control) and is proven by the same conformance tests as the real thing
where one exists.
"""
