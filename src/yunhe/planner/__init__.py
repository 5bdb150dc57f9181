"""Plans and validations by the shipped predictor and catalogues: a process of its own, `python -m yunhe.planner`.

It knows files and the command line, and puts the room `adapt`, the catalogues and the engines' compatibility tables
together; it needs no server and no network. It decides nothing itself and must not know control, store or gateway.
"""
