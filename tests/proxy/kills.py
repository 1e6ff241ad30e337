"""Python clients whose server is killed again and again: through the proxy no call fails.

    kills.py SECONDS       16 clients, the server killed every 2 s
    kills.py --seed        the client of the seed, unchanged: its channel options, its interceptor
"""

import multiprocessing
import statistics
import sys
import time
from concurrent import futures

import grpc

from processes import IDEMPOTENT, Proxy, Server

CLIENTS, PROCESSES, EVERY = 16, 4, 2.0
# What the Python system's channel is made with.
SEED_OPTIONS = [
    ("grpc.keepalive_time_ms", 30000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
SEED_CODES = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL",
              "UNKNOWN"}


class SeedRetries(grpc.UnaryUnaryClientInterceptor):
    """Its interceptor: min(initial * multiplier ** attempt, most), for codes in its list."""

    def __init__(self, retries=3, initial=1.0, multiplier=2.0, most=10.0):
        self.retries, self.initial, self.multiplier, self.most = retries, initial, multiplier, most
        self.made = 0

    def intercept_unary_unary(self, continuation, details, request):
        for attempt in range(self.retries + 1):
            answer = continuation(details, request)
            if answer.code() is grpc.StatusCode.OK or answer.code().name not in SEED_CODES \
                    or attempt == self.retries:
                return answer
            self.made += 1
            time.sleep(min(self.initial * self.multiplier ** attempt, self.most))


def work(address, clients, seconds, counts):
    """One process: so many clients, each a channel and a thread of its own."""
    import threading

    def client():
        with grpc.insecure_channel(address, options=SEED_OPTIONS) as channel:
            echo = channel.unary_unary("/test.Kinds/echo")
            number, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                number += 1
                text = b"%d" % number
                try:
                    right = echo(text, timeout=60) == text
                except grpc.RpcError as error:
                    right = False
                    counts["failed: " + error.code().name] = (
                        counts.get("failed: " + error.code().name, 0) + 1)
                with lock:
                    ok[right] += 1

    lock, ok = threading.Lock(), {True: 0, False: 0}
    threads = [threading.Thread(target=client) for _ in range(clients)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    counts[multiprocessing.current_process().name] = (ok[True], ok[False])


def under_kills(server, address, seconds, proxy=None):
    """Calls that were answered, calls that failed, kills, and the proxy's memory as time went by."""
    counts = multiprocessing.Manager().dict()
    processes = [multiprocessing.Process(target=work, args=(address, CLIENTS // PROCESSES, seconds,
                                                            counts)) for _ in range(PROCESSES)]
    [process.start() for process in processes]
    kills, memory, end = 0, [], time.monotonic() + seconds - EVERY
    while time.monotonic() < end:
        time.sleep(EVERY)
        server.kill()
        kills += 1
        server.start()
        if proxy:
            memory.append(proxy.memory())
    [process.join() for process in processes]
    pairs = [value for value in counts.values() if isinstance(value, tuple)]
    codes = {key: value for key, value in counts.items() if isinstance(value, int)}
    return sum(it[0] for it in pairs), sum(it[1] for it in pairs), kills, memory, codes


def by_quarter(samples):
    """The median of each quarter of them."""
    size = max(1, len(samples) // 4)
    parts = [samples[at:at + size] for at in range(0, 3 * size, size)] + [samples[3 * size:]]
    return [statistics.median(part) if part else float("nan") for part in parts]


def sixteen(seconds):
    server = Server()
    proxy = Proxy(server, methods=IDEMPOTENT)
    ok, failed, kills, memory, codes = under_kills(server, proxy.address, seconds, proxy)
    quarters = by_quarter(memory)
    print("through the proxy: %d calls, %d failed %s, %d kills; memory in each quarter %s MiB" % (
        ok, failed, codes, kills, ", ".join("%.1f" % one for one in quarters)))
    direct = under_kills(server, server.address, min(seconds, 20))
    print("directly, for at most 20 s: %d calls, %d failed" % direct[:2])
    # Flat: the first quarter warms up, and allocators have some slack.
    flat = len(memory) >= 8 and quarters[3] < quarters[1] * 1.05 + 1
    good = failed == 0 and ok > 100 and direct[1] > 0 and flat
    good = proxy.stop()[0] == 0 and good
    server.stop()
    return good


def seed():
    """Its client, with its retries on and off: both answer every call."""
    server = Server()
    good = True
    for retries in [0, 3]:
        proxy = Proxy(server, methods=IDEMPOTENT)
        interceptor = SeedRetries(retries)
        channel = grpc.insecure_channel(proxy.address, options=SEED_OPTIONS)
        with grpc.intercept_channel(channel, interceptor) as intercepted:
            echo = intercepted.unary_unary("/test.Kinds/echo")
            begun, answered = time.monotonic(), 0
            for kill in range(5):
                until = time.monotonic() + 1
                while time.monotonic() < until:
                    answered += echo(b"%d" % answered, timeout=60) == b"%d" % answered
                server.kill()
                # A call that waits out the outage. The interceptor waits for it, so it has a thread.
                with futures.ThreadPoolExecutor(1) as thread:
                    waiting = thread.submit(echo, b"waits", timeout=60)
                    time.sleep(0.3)
                    server.start()
                    good = waiting.result() == b"waits" and good
        print("the seed's client, %d retries of its own: %d calls answered in %.1f s, %d retries made"
              % (retries, answered, time.monotonic() - begun, interceptor.made))
        good = answered > 50 and interceptor.made == 0 and good
        proxy.stop()
    server.stop()
    return good


if __name__ == "__main__":
    if sys.argv[1] == "--seed":
        sys.exit(0 if seed() else 1)
    sys.exit(0 if sixteen(float(sys.argv[1])) else 1)
