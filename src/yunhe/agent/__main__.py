"""``python -m yunhe.agent``."""

from yunhe.agent.main import main

if __name__ == "__main__":
    raise SystemExit(main())
