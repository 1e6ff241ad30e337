"""grpcio as a client: callers that call one after the other, until standard input ends.

    grpcio_client.py TARGET POLICY CALLERS      POLICY is round_robin or pick_first

Prints "ready" when the channel is. A line on standard input begins the counting anew, and is answered by "ok". At the end it prints
a JSON object: how many calls worked, how many failed by code, and the slowest in ms.

Configured to do what the other client does as far as grpcio has it: calls wait for a connection, 10 s at most; UNAVAILABLE and the
other codes of the list are tried four times with waits of 1, 2 and 4 s; waits between dials end at 10 s, and two lookups of a name
may follow each other at once (30 s are the default).
"""

import json
import sys
import threading
import time

import grpc

CODES = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN"]
SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "waitForReady": True,
            "timeout": "10s",
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "1s",
                "maxBackoff": "10s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": CODES,
            },
        }
    ],
}
POLICIES = {"round_robin": {}, "pick_first": {"shuffleAddressList": True}}
PAUSE = 0.02


class Callers:
    def __init__(self, channel, callers):
        self.lock, self.over = threading.Lock(), threading.Event()
        self.begin()
        self.call = channel.unary_unary("/test.Echo/Say")
        self.threads = [threading.Thread(target=self.run) for _ in range(callers)]
        for thread in self.threads:
            thread.start()

    def begin(self):
        with self.lock:
            self.ok, self.failed, self.slowest = 0, {}, 0.0

    def run(self):
        while not self.over.is_set():
            began, failed = time.monotonic(), None
            try:
                self.call(b"\n\x05hello")
            except grpc.RpcError as error:
                failed = error.code().name
            took = time.monotonic() - began
            with self.lock:
                self.slowest = max(self.slowest, took)
                if failed:
                    self.failed[failed] = self.failed.get(failed, 0) + 1
                else:
                    self.ok += 1
            time.sleep(PAUSE)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        return {"ok": self.ok, "failed": self.failed, "slowest_ms": round(self.slowest * 1000)}


def main():
    target, policy, callers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    options = [
        ("grpc.service_config", json.dumps(dict(SERVICE_CONFIG, loadBalancingConfig=[{policy: POLICIES[policy]}]))),
        ("grpc.dns_min_time_between_resolutions_ms", 0),
        ("grpc.max_reconnect_backoff_ms", 10000),
    ]
    with grpc.insecure_channel("dns:///" + target, options=options) as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
        running = Callers(channel, callers)
        print("ready", flush=True)
        for _ in sys.stdin:
            running.begin()
            print("ok", flush=True)
        print(json.dumps(running.end()), flush=True)


main()
