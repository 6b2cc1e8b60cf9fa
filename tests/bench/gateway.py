"""What the gateway adds to a request, beside nginx and litellm in the same run.

    python -m tests.bench.gateway

All of them stand in front of the same stand-in for the speech engine, on this machine, and are
asked in turns. nginx is Debian's; litellm's program is BENCH_LITELLM, or .venv/litellm/bin/litellm.
The client, the stand-in and the one that is measured share the processors.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from proxy_app.audio.wav import header
from tests.api.conftest import eventually, free_port, running
from tests.api.recordings import canonical_wav

ROOT = Path(__file__).resolve().parents[2]
UPLOAD = canonical_wav(5)
ROUNDS = 9
REQUESTS = 40
CLIENTS = 4
SECONDS = 2.0
GIGABYTE = 1_000_000_000
PATH = "/v1/audio/transcriptions"


@dataclass
class Target:
    """One thing to be measured."""

    name: str
    port: int
    pids: Callable[[], list[int]]
    headers: dict[str, str] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    growth: float | None = None
    upload_s: float | None = None


def main() -> None:
    """Measure and print the tables."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        work = Path(folder)
        upstream = free_port()
        command = [sys.executable, "-m", "tests.standins.upstream_whisperx", str(upstream)]
        standin = stack.enter_context(process(command, upstream, work))
        targets = [Target("direct", upstream, lambda: [standin.pid])]
        missing = []
        for name, start in (("gateway", gateway), ("nginx", nginx), ("litellm", litellm)):
            target = start(work, upstream, stack)
            if target is None:
                missing.append(name)
            else:
                targets.append(target)
        measure(targets)
    report(targets, missing)


def measure(targets: list[Target]) -> None:
    """In turns, so that a disturbance of the machine meets all of them."""
    for target in targets:
        ask(target, 10)
    for _ in range(ROUNDS):
        for target in targets:
            target.latencies += ask(target, REQUESTS)
    for _ in range(3):
        for target in targets:
            target.rates.append(rate(target))
    for target in targets[1:]:
        target.growth, target.upload_s = memory_growth(target)


def report(targets: list[Target], missing: list[str]) -> None:
    """Print Markdown."""
    base = statistics.median(targets[0].latencies)
    print(f"A {len(UPLOAD) // 1000} KB upload, {ROUNDS} rounds of {REQUESTS} requests in turns;")
    print(f"requests per second with {CLIENTS} clients; one upload of 1 GB. The uploads are 16 kHz")
    print("mono WAVs, which need no decoding.\n")
    print("| | median | added | requests/s | 1 GB upload | memory growth meanwhile |")
    print("|---|---:|---:|---:|---:|---:|")
    for target in targets:
        median = statistics.median(target.latencies)
        row = [
            f"{median * 1000:.2f} ms",
            "base" if target is targets[0] else f"{(median - base) * 1000:+.2f} ms",
            f"{statistics.median(target.rates):.0f}",
            "" if target.upload_s is None else f"{target.upload_s:.1f} s",
            "" if target.growth is None else f"{target.growth / 1e6:.0f} MB",
        ]
        print(f"| {target.name} | {' | '.join(row)} |")
    for name in missing:
        print(f"| {name} | not installed | | | | |")


def gateway(work: Path, upstream: int, stack: contextlib.ExitStack) -> Target | None:
    """As shipped, but for the length of a recording: 1 GB are hours."""
    state = work / "gateway"
    state.mkdir()
    started = stack.enter_context(running(state, upstream, SPEECH_MAX_AUDIO_S="100000"))
    return Target("gateway", started.port, lambda: [started.process.pid, *started.workers()])


def nginx(work: Path, upstream: int, stack: contextlib.ExitStack) -> Target | None:
    """Debian's nginx with request buffering, as it is by default."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        return None
    port = free_port()
    folder = work / "nginx"
    folder.mkdir()
    folder.chmod(0o777)
    work.chmod(0o755)
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
        daemon off; pid {folder}/pid; error_log {folder}/error.log;
        events {{}}
        http {{
          access_log off; client_max_body_size 2g; {temporary}
          upstream engine {{ server 127.0.0.1:{upstream}; keepalive 16; }}
          server {{
            listen 127.0.0.1:{port};
            location / {{
              proxy_pass http://engine; proxy_http_version 1.1;
              proxy_set_header Connection "";
            }}
          }}
        }}
    """)
    command = [program, "-c", str(configuration)]
    started = stack.enter_context(process(command, port, folder))
    return Target("nginx", port, lambda: [started.pid, *children(started.pid)])


def litellm(work: Path, upstream: int, stack: contextlib.ExitStack) -> Target | None:
    """LiteLLM's proxy with the stand-in as an OpenAI server."""
    program = Path(os.environ.get("BENCH_LITELLM", ROOT / ".venv/litellm/bin/litellm"))
    if not program.exists():
        return None
    port = free_port()
    folder = work / "litellm"
    folder.mkdir()
    key = f"sk-{secrets.token_hex(16)}"
    model = {
        "model_name": "whisper-1",
        "litellm_params": {
            "model": "openai/whisper-1",
            "api_base": f"http://127.0.0.1:{upstream}/v1",
            "api_key": "none",
        },
        "model_info": {"mode": "audio_transcription"},
    }
    configuration = folder / "config.yaml"
    configuration.write_text(
        json.dumps({"model_list": [model], "general_settings": {"master_key": key}})
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    command = [str(program), "--config", str(configuration)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    started = stack.enter_context(process(command, port, folder, environ))
    headers = {"Authorization": f"Bearer {key}"}
    return Target("litellm", port, lambda: [started.pid, *children(started.pid)], headers)


@contextlib.contextmanager
def process(
    command: list[str], port: int, folder: Path, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, wait until its port answers, stop it afterwards."""
    log = folder / "log"
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        assert eventually(lambda: listens(port), within_s=90), log.read_text()[-2000:]
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health")
        connection.getresponse().read()
        connection.close()
        return True
    return False


def children(pid: int) -> list[int]:
    found = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def form(audio: bytes) -> tuple[bytes, bytes]:
    """What goes before and after the samples in the request's body."""
    disposition = "Content-Disposition: form-data; name="
    before = (
        f'--b\r\n{disposition}"model"\r\n\r\nwhisper-1\r\n'
        f'--b\r\n{disposition}"file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    )
    return before.encode() + audio, b"\r\n--b--\r\n"


def post(connection: http.client.HTTPConnection, target: Target, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b", **target.headers}
    connection.request("POST", PATH, body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200 or b"Good morning" not in answer:
        raise RuntimeError(f"{target.name} answered {response.status}: {answer[:500]!r}")


def ask(target: Target, count: int) -> list[float]:
    """Seconds of each of so many requests, one after another on one connection."""
    body = b"".join(form(UPLOAD))
    times = []
    with contextlib.closing(connect(target)) as connection:
        for _ in range(count):
            started = time.perf_counter()
            post(connection, target, body)
            times.append(time.perf_counter() - started)
    return times


def connect(target: Target) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", target.port, timeout=600, blocksize=256 * 1024)


def rate(target: Target) -> float:
    """Requests per second with several clients."""
    until = time.perf_counter() + SECONDS

    def client(number: int) -> int:
        # Each its own: the gateway works once on what several send at the same time.
        body = b"".join(form(UPLOAD[:-2] + number.to_bytes(2, "little")))
        count = 0
        with contextlib.closing(connect(target)) as connection:
            while time.perf_counter() < until:
                post(connection, target, body)
                count += 1
        return count

    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        counts = list(pool.map(client, range(CLIENTS)))
    return sum(counts) / (time.perf_counter() - started)


def memory_growth(target: Target) -> tuple[float, float]:
    """Bytes that the resident memory grew at most while 1 GB came in, and the seconds it took."""
    before = resident(target)
    peak = before
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident(target))

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        upload_gigabyte(target)
    finally:
        done.set()
        watcher.join()
    return peak - before, time.perf_counter() - started


def upload_gigabyte(target: Target) -> None:
    """A WAV of 1 GB in pieces: nine hours of silence that say so in a true header."""
    before, after = form(header(GIGABYTE))
    piece = bytes(1_000_000)

    def pieces() -> Iterator[bytes]:
        yield before
        for _ in range(GIGABYTE // len(piece)):
            yield piece
        yield after

    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Length": str(len(before) + GIGABYTE + len(after)),
        **target.headers,
    }
    with contextlib.closing(connect(target)) as connection:
        connection.request("POST", PATH, pieces(), headers)
        response = connection.getresponse()
        answer = response.read()
    if response.status != 200:
        raise RuntimeError(f"{target.name} answered {response.status}: {answer[:500]!r}")


def resident(target: Target) -> int:
    total = 0
    for pid in target.pids():
        with contextlib.suppress(OSError):  # it has ended
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
