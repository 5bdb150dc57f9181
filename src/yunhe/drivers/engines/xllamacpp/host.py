"""The process that holds the engine: ``python -m yunhe.drivers.engines.xllamacpp.host --config engine.json``.

The server runs in C++ threads of this process; a crash in them takes this process and nothing else. SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: llama.cpp's enumerations of these choices.
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}


def main() -> int:
    """Start the server, write its port, wait for a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    config = json.loads(parser.parse_args().config.read_text(encoding="utf-8"))
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the server's threads exist, so that they inherit it and the signal waits for us.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)

    import xllamacpp

    try:
        server = xllamacpp.Server(_parameters(xllamacpp, config))
    except (RuntimeError, ValueError) as error:
        # The cause is in the lines that the engine wrote before.
        print(f"{Path(config['weights']).name} does not load: {error}", file=sys.stderr, flush=True)
        return 3
    port = urlsplit(server.listening_address).port
    target = Path(config["port_file"])
    waiting = target.with_suffix(".new")
    waiting.write_text(str(port), encoding="utf-8")
    waiting.rename(target)
    signal.sigwait(stop_signals)
    # The server's destructor waits for running requests; the gateway has drained us, and stopping must be prompt.
    os._exit(0)


def _parameters(xllamacpp: Any, config: dict[str, Any]) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = config["weights"]
    parameters.model_alias = {config["alias"]}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [config["api_key"]]
    parameters.endpoint_metrics = True
    parameters.n_parallel = config["slots"]
    parameters.n_ctx = config["slots"] * config["context_length"]
    parameters.cpuparams.n_threads = config["threads"]
    parameters.cpuparams_batch.n_threads = config["threads"]
    parameters.embedding = config["embeddings"]
    parameters.n_batch = config["batch"]
    parameters.n_ubatch = config["ubatch"]
    parameters.cache_ram_mib = config["prompt_cache_mib"]
    parameters.flash_attn_type = type(parameters.flash_attn_type)(_FLASH_ATTENTION[config["flash_attention"]])
    kv_type = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{config['kv_type'].upper()}")
    parameters.cache_type_k = kv_type
    parameters.cache_type_v = kv_type
    # It would make the context smaller than what callers are told.
    parameters.fit_params = False
    parameters.ui = False
    return parameters


if __name__ == "__main__":
    sys.exit(main())
