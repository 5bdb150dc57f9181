"""The server. It imports nothing of Yunhe: it runs in the environment of the engine, packed into a program."""
