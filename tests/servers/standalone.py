"""The scripted server as a program of its own, with the bad habits that servers have.

``standalone.py [serve MODEL] --port N [...]``; ``MODEL`` and options that it does not know are for the
command line's looks. Its own process id goes to the file ``--pids``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.scripted import Ask, Reply, as_json, models, seeing, serve

MIB = 1024**2
STEPS_PER_PICTURE = 0.03


def main() -> None:
    arguments = parse()
    sys.stdout.write("loading the weights\n")
    sys.stdout.flush()
    if arguments.chatty:
        for number in range(40):
            sys.stdout.write(f"{number} {'x' * 1022}\n" * 1024)
    if arguments.die:
        sys.stdout.write(f"argv: {'|'.join(sys.argv)}\n{'x' * 5000}\n")
        sys.exit("CUDA out of memory: api_key=verysecretvalue")
    if arguments.fork:
        fork_away()
    if arguments.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with Path(arguments.pids).open("a", encoding="utf-8") as file:
        print(os.getpid(), file=file)
    if arguments.never:
        signal.pause()
    time.sleep(arguments.late)
    listed = as_json(models(arguments.served_model_name, owned_by=arguments.owned_by))
    chat = ageing(arguments) if arguments.hang is None else hanging(Path(arguments.hang))
    if arguments.exit_after is not None:
        chat = exiting(arguments.exit_after)
    with serve(port=arguments.port, routes={"/v1/models": listed}, chat=chat):
        while True:
            signal.pause()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", default="served")
    parser.add_argument("--pids", default=os.devnull)
    parser.add_argument("--late", type=float, default=0.0, help="seconds before it listens")
    parser.add_argument("--exit-after", type=int, help="chat requests, and then it ends")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that a measured answer takes")
    parser.add_argument("--slower", type=float, default=0.0, help="share by which each picture takes longer")
    parser.add_argument("--leak-mib", type=float, default=0.0, help="that it keeps of each picture")
    parser.add_argument("--step-mib", type=float, default=0.0, help="that it takes and gives back at random")
    parser.add_argument("--owned-by", default="vllm", help="what it says it is")
    parser.add_argument("--hang", help="FIFO that is opened when the first measured request comes; no answer")
    for habit in ("die", "never", "fork", "stubborn", "chatty"):
        parser.add_argument(f"--{habit}", action="store_true")
    return parser.parse_known_args()[0]


def fork_away() -> None:
    """Become a daemon: the process that was started ends at once."""
    for _ in range(2):
        if os.fork():
            os._exit(0)
        os.setsid()


def hanging(fifo: Path) -> Callable[[Ask], Reply]:
    """Answer until ready, then say so through the FIFO and never answer again."""

    def chat(ask: Ask) -> Reply:
        if ask.body.get("max_tokens", 0) < 10:
            return seeing(ask)
        fifo.open("w").close()
        signal.sigwait({signal.SIGUSR2})
        raise AssertionError

    return chat


def exiting(after: int) -> Callable[[Ask], Reply]:
    """Answer so many requests, and end at the next one, as a server that is killed does."""

    def chat(ask: Ask) -> Reply:
        if ask.number >= after:
            sys.stdout.write("CUDA error: device-side assert triggered\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return seeing(ask)

    return chat


def ageing(arguments: argparse.Namespace) -> Callable[[Ask], Reply]:
    """Answer after a time, questions of the proofs at once, and change with every captioned picture."""
    kept: list[bytes] = []
    pool: list[bytes] = []
    chance = random.Random(arguments.port)
    pictures = itertools.count(1)
    slower = 1.0

    def age() -> None:
        nonlocal slower
        slower = 1 + arguments.slower * next(pictures)
        kept.append(os.urandom(int(arguments.leak_mib * MIB)))
        # An allocator that grows and shrinks in steps, and buffers that come and go.
        if arguments.step_mib and chance.random() < STEPS_PER_PICTURE:
            pool.append(os.urandom(int(arguments.step_mib * MIB)))
            del pool[: chance.choice((0, 1, 1))]

    def chat(ask: Ask) -> Reply:
        if ask.stage == "caption":
            age()
        time.sleep(arguments.slow * slower if ask.body.get("temperature") else 0)
        return seeing(ask)

    return chat


if __name__ == "__main__":
    main()
