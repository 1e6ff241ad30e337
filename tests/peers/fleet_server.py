"""One of several gRPC servers on grpcio: answers each call with its own address.

    fleet_server.py HOST:PORT     port 0 is a free one

Prints its port. On SIGTERM it drains: GOAWAY, a second for calls in flight. Ends with standard input, too.
"""

import signal
import sys
import threading
from concurrent import futures

import grpc


class Handler(grpc.GenericRpcHandler):
    """`/test.Echo/Say`, a StringValue in and out."""

    def __init__(self):
        self.answer = b""

    def service(self, details):
        if details.method != "/test.Echo/Say":
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.answer)


def main():
    handler, host = Handler(), sys.argv[1].rsplit(":", 1)[0]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), handlers=(handler,))
    port = server.add_insecure_port(sys.argv[1])
    address = f"{host}:{port}".encode()
    handler.answer = bytes([1 << 3 | 2, len(address)]) + address
    server.start()
    print(port, flush=True)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    over.wait()
    server.stop(1).wait()


main()
