"""The HTTP server of llama.cpp in the xllamacpp wheel, with those options of llama-server that a demo needs.

The wheel runs on every x86-64 and ARM processor; prebuilt llama-servers often need newer ones.
"""

from __future__ import annotations

import argparse
import signal
import threading


def main() -> None:
    """Serve a model until SIGTERM or SIGINT."""
    arguments = _parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = arguments.model
    parameters.mmproj.path = arguments.mmproj or ""
    parameters.model_alias = {arguments.alias}
    parameters.n_ctx = arguments.ctx_size * arguments.parallel
    parameters.n_parallel = arguments.parallel
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = arguments.threads
    parameters.hostnames = [arguments.host]
    parameters.port = arguments.port
    parameters.api_keys = arguments.api_key
    parameters.endpoint_metrics = arguments.metrics
    server = xllamacpp.Server(parameters)
    print(f"listening on {server.listening_address}", flush=True)
    threading.Event().wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_setups.demo.llama_server", description=__doc__)
    parser.add_argument("-m", "--model", required=True, help="GGUF of the text model")
    parser.add_argument("--mmproj", help="GGUF of the vision part")
    parser.add_argument("--alias", default="model", help="served model name")
    parser.add_argument("-c", "--ctx-size", type=int, default=2048, help="context of one slot in tokens")
    parser.add_argument("-np", "--parallel", type=int, default=1, help="slots: requests worked on at once")
    parser.add_argument("-t", "--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--api-key", action="append", default=[], help="key that requests must carry")
    parser.add_argument("--metrics", action="store_true", help="count requests and tokens at /metrics")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    return parser


if __name__ == "__main__":
    main()
