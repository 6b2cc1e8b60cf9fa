"""What the gateway adds to a request, beside nginx, litellm, Portkey and a bare relay in one run.

    python -m tests.bench.gateway

All of them stand before the same stand-in for services, on this machine, and are asked in turns.
nginx is Debian's; litellm's program is BENCH_LITELLM, or .venv/litellm/bin/litellm; Portkey's is
installed by npm from tests/bench/node. The client, the stand-in and the one that is measured share
the processors.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import targets
from tests.bench.printing import say, table
from tests.bench.targets import Target
from tests.bench.wire import AnswerError, Connection, Uploads, chat, large_upload
from tests.standins.upstream_light import EVENTS

ROUNDS = 9
REQUESTS = 40
CLIENTS = 4
SECONDS = 3.0
RATE_ROUNDS = 3
STREAMS = 5
SLOW = 50
SLOW_S = 4.0
_TRICKLE = 1000
_TRICKLE_EVERY_S = 0.05
_WATCH_S = 0.02


@dataclass
class Measured:
    """One target's figures; times in seconds."""

    target: Target
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """Uploads per second."""
    cpu_s: list[float] = field(default_factory=list)
    """Of a processor, for one upload."""
    growth: float = 0.0
    """Bytes, meanwhile."""
    large: tuple[float, float] | None = None
    """Seconds that 1 GB took, and how many bytes the memory grew."""
    delays: list[float] = field(default_factory=list)
    """Of paced events."""
    streams: list[float] = field(default_factory=list)
    """Seconds that a stream took that was not paced."""
    beside_slow: list[float] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """What it could not do, and why."""


def main() -> None:
    """Measure and print the tables."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        direct = targets.standin(work, stack)
        found, missing = [Measured(direct)], {}
        for name, start in targets.PEERS.items():
            say(f"starting {name}")
            try:
                found.append(Measured(start(work, direct.port, stack)))
            except targets.MissingError as error:
                missing[name] = str(error)
        measure(found)
    report(found, missing)


def measure(found: list[Measured]) -> None:
    """In turns, so that a disturbance of the machine meets all of them."""
    for one in found:
        _try(one, "uploads", lambda one: uploads(one, 10))
        one.latencies.clear()
    for number in range(ROUNDS):
        say(f"uploads, round {number + 1} of {ROUNDS}")
        for one in found:
            _try(one, "uploads", lambda one: uploads(one, REQUESTS))
    for number in range(RATE_ROUNDS):
        say(f"{CLIENTS} clients, round {number + 1} of {RATE_ROUNDS}")
        for one in found:
            _try(one, "uploads", rate)
    for number in range(STREAMS):
        say(f"streams, round {number + 1} of {STREAMS}")
        for one in found:
            _try(one, "streams", stream)
    for one in found:
        say(f"{SLOW} slow clients: {one.target.name}")
        _try(one, "slow", beside_slow)
    for one in found[1:]:
        say(f"1 GB: {one.target.name}")
        _try(one, "large", gigabyte)


def _try(one: Measured, what: str, do: Callable[[Measured], None]) -> None:
    if what in one.failed:
        return
    try:
        do(one)
    except (AnswerError, OSError) as error:
        one.failed[what] = str(error)
        say(f"{one.target.name}, {what}: {error}")


def uploads(one: Measured, count: int) -> None:
    """So many, one after another on one connection."""
    requests = Uploads(one.target.headers)
    with Connection(one.target.port) as connection:
        one.latencies += [connection.ask(requests.one()) for _ in range(count)]


def rate(one: Measured) -> None:
    """As many as it takes of several clients."""
    requests = Uploads(one.target.headers)
    until = time.perf_counter() + SECONDS

    def client() -> int:
        count = 0
        with Connection(one.target.port) as connection:
            while time.perf_counter() < until:
                connection.ask(requests.one())
                count += 1
        return count

    with _watched(one.target) as growth:
        began, used = time.perf_counter(), one.target.cpu_s()
        with ThreadPoolExecutor(CLIENTS) as pool:
            done = sum(job.result() for job in [pool.submit(client) for _ in range(CLIENTS)])
        one.rates.append(done / (time.perf_counter() - began))
        one.cpu_s.append((one.target.cpu_s() - used) / done)
    one.growth = max(one.growth, *growth)


def stream(one: Measured) -> None:
    """A chat of 1,000 events, one a millisecond, and one as fast as it goes."""
    headers = one.target.headers
    with Connection(one.target.port) as connection:
        delays = connection.delays(chat(headers, paced=True))
        began = time.perf_counter()
        at_once = connection.delays(chat(headers, paced=False))
        one.streams.append(time.perf_counter() - began)
    if not len(delays) == len(at_once) == EVENTS:
        raise AnswerError(f"{len(delays)} and {len(at_once)} events of {EVENTS}")
    one.delays += delays


def beside_slow(one: Measured) -> None:
    """Uploads, while others send theirs a kilobyte at a time."""
    requests = Uploads(one.target.headers)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Connection(one.target.port)) for _ in range(SLOW)]
        is_over = threading.Event()

        def trickle() -> None:
            trickled, sent = [requests.one() for _ in slow], 0
            while not is_over.wait(_TRICKLE_EVERY_S) and sent + _TRICKLE < len(trickled[0]):
                for connection, request in zip(slow, trickled, strict=True):
                    connection.send(request[sent : sent + _TRICKLE])
                sent += _TRICKLE

        sender = threading.Thread(target=trickle)
        sender.start()
        try:
            time.sleep(4 * _TRICKLE_EVERY_S)
            until = time.perf_counter() + SLOW_S
            with Connection(one.target.port) as connection:
                while time.perf_counter() < until:
                    one.beside_slow.append(connection.ask(requests.one()))
        finally:
            is_over.set()
            sender.join()


def gigabyte(one: Measured) -> None:
    """An upload of 1 GB."""
    with _watched(one.target) as growth:
        began = time.perf_counter()
        with Connection(one.target.port) as connection:
            for piece in large_upload(one.target.headers):
                connection.send(piece)
            connection.answer()
        took_s = time.perf_counter() - began
    one.large = took_s, max(growth)


@contextlib.contextmanager
def _watched(target: Target) -> Iterator[list[float]]:
    """By how many bytes its memory has grown at most, once the block is over."""
    before = target.resident()
    growth = [0.0]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_WATCH_S):
            growth[0] = max(growth[0], target.resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield growth
    finally:
        is_over.set()
        watcher.join()


def report(found: list[Measured], missing: dict[str, str]) -> None:
    """Print Markdown."""
    direct, peers = found[0], found[1:]
    gone = [[name, reason] for name, reason in missing.items()]
    print(
        f"An upload of 160 KB, {ROUNDS} rounds of {REQUESTS} one after another on a connection, "
        f"and {RATE_ROUNDS} rounds of {SECONDS:.0f} s with {CLIENTS} clients, in turns. Added "
        "is the difference to asking the stand-in directly. The uploads are 16 kHz mono WAVs, "
        "which need no decoding; no two are the same. The gateway and the relay have a worker for "
        "each processor, the others what they have by default, LiteLLM once more as many."
    )
    head = ["160 KB", "median", "added", "added, 95th percentile", "requests/s",
            "processor time of one", "memory growth"]  # fmt: skip
    rows = [[direct.target.name, *_uploads(direct, direct)]]
    table(head, rows + [[one.target.name, *_uploads(one, direct)] for one in peers] + gone)
    print("One upload of 1 GB.")
    table(["1 GB", "time", "memory growth"], [[one.target.name, *_large(one)] for one in peers])
    print(
        f"A chat's stream of {EVENTS:,} events of 200 bytes, {STREAMS} times: one a millisecond, "
        "each of which tells when it was sent; and as fast as they go."
    )
    head = ["1,000 events", "delay of one, median", "added", "95th percentile",
            "at once: for each event", "added"]  # fmt: skip
    table(head, [[one.target.name, *_streams(one, direct)] for one in found])
    print(
        f"Uploads of 160 KB one after another for {SLOW_S:.0f} s, while {SLOW} clients send theirs "
        f"at {_TRICKLE / _TRICKLE_EVERY_S / 1000:.0f} KB/s each."
    )
    head = [f"beside {SLOW} slow clients", "median", "95th percentile", "slowest"]
    table(head, [[one.target.name, *_slow(one)] for one in found])


def _uploads(one: Measured, base: Measured) -> list[str]:
    if "uploads" in one.failed or not one.rates:
        return ["failed"]
    added = [
        "base"
        if one is base
        else f"{_ms(quantile(one.latencies) - quantile(base.latencies)):+.2f} ms"
        for quantile in (statistics.median, _late)
    ]
    return [
        f"{_ms(statistics.median(one.latencies)):.2f} ms",
        *added,
        f"{statistics.median(one.rates):.0f}",
        f"{_ms(statistics.median(one.cpu_s)):.2f} ms",
        f"{one.growth / 1e6:.0f} MB",
    ]


def _large(one: Measured) -> list[str]:
    if one.large is None:
        return ["failed"]
    return [f"{one.large[0]:.1f} s", f"{one.large[1] / 1e6:.0f} MB"]


def _streams(one: Measured, base: Measured) -> list[str]:
    if "streams" in one.failed or "streams" in base.failed:
        return ["failed"]
    delay, each = statistics.median(one.delays), statistics.median(one.streams) / EVENTS
    return [
        f"{_us(delay):.0f} µs",
        "base" if one is base else f"{_us(delay - statistics.median(base.delays)):+.0f} µs",
        f"{_us(_late(one.delays)):.0f} µs",
        f"{_us(each):.0f} µs",
        "base"
        if one is base
        else f"{_us(each - statistics.median(base.streams) / EVENTS):+.0f} µs",
    ]


def _slow(one: Measured) -> list[str]:
    if "slow" in one.failed:
        return ["failed"]
    times = (statistics.median(one.beside_slow), _late(one.beside_slow), max(one.beside_slow))
    return [f"{_ms(seconds):.1f} ms" for seconds in times]


def _late(times: list[float]) -> float:
    """The 95th percentile."""
    return sorted(times)[int(0.95 * len(times))]


def _ms(seconds: float) -> float:
    return seconds * 1000


def _us(seconds: float) -> float:
    return seconds * 1e6


if __name__ == "__main__":
    main()
