"""The outages of `benches/recovery.rs` as grpcio lives through them: a call every 10 ms while the server is killed and restarted.

    grpcio_recovery.py SERVER [--quick] [--json]     SERVER: a bench's program, which also is the benches' server
"""

import json
import statistics
import subprocess
import sys
import threading
import time

import grpc

EVERY = 0.010
POLICY = {
    "methodConfig": [
        {
            "name": [{}],
            "timeout": "60s",
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "1s",
                "maxBackoff": "10s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": [
                    "UNAVAILABLE",
                    "DEADLINE_EXCEEDED",
                    "RESOURCE_EXHAUSTED",
                    "ABORTED",
                    "INTERNAL",
                    "UNKNOWN",
                ],
            },
        }
    ]
}
OPTIONS = [
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(POLICY)),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


class Server:
    """A server process; its address stays the same over restarts."""

    def __init__(self, program):
        self.program, self.address = program, "127.0.0.1:0"
        self.start()

    def start(self):
        command = [self.program, "--serve", self.address]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def live_through(program, down, graceful, wait_for_ready):
    """Calls, failed calls, and milliseconds from the server's return to the first success after it."""
    server = Server(program)
    channel = grpc.insecure_channel(server.address, options=OPTIONS)
    echo = channel.unary_unary("/bench.Echo/Unary")
    grpc.channel_ready_future(channel).result(timeout=5)
    log, over, lock = [], threading.Event(), threading.Lock()

    def note(future):
        with lock:
            log.append((time.monotonic(), future.code() == grpc.StatusCode.OK))

    def call_on():
        due = time.monotonic()
        while not over.is_set():
            echo.future(b"\x0a\x40" + b"x" * 64, wait_for_ready=wait_for_ready).add_done_callback(note)
            due += EVERY
            time.sleep(max(0, due - time.monotonic()))

    caller = threading.Thread(target=call_on)
    caller.start()
    time.sleep(1)
    if graceful:
        server.stop()
    else:
        server.kill()
        time.sleep(down)
    server.start()
    back = time.monotonic()
    time.sleep(3)
    over.set()
    caller.join()
    time.sleep(0.5)
    with lock:
        done = list(log)
    channel.close()
    server.kill()
    success = [at for at, ok in done if ok and at > back]
    first = (min(success) - back) * 1e3 if success else float("nan")
    return len(done), sum(not ok for _, ok in done), first


def main():
    program, quick, as_json = sys.argv[1], "--quick" in sys.argv, "--json" in sys.argv
    faults = [("killed_for_0.2_s", 0.2, False), ("graceful_restart", 0, True)]
    if not quick:
        faults[1:1] = [("killed_for_2_s", 2, False), ("killed_for_10_s", 10, False)]
    for name, down, graceful in faults:
        for wait_for_ready, suffix in [(False, "grpcio"), (True, "grpcio_wait_for_ready")]:
            lives = [live_through(program, down, graceful, wait_for_ready) for _ in range(1 if quick else 3)]
            for measure, unit, at in [("calls", "calls", 0), ("failed_calls", "calls", 1), ("first_success_after", "ms", 2)]:
                value = round(statistics.median(life[at] for life in lives), 3)
                row = {
                    "bench": "recovery",
                    "measure": f"{name}.{measure}.{suffix}",
                    "payload": 0,
                    "in_flight": 0,
                    "connections": 1,
                    "peer": "none",
                    "value": None if value != value else value,
                    "unit": unit,
                    "ratio": None,
                    "ratio_min": None,
                    "ratio_max": None,
                }
                print(json.dumps(row, separators=(",", ":")) if as_json else f"{row['measure']:60} {value:10.1f} {unit}")


main()
