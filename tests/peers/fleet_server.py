"""One of several gRPC servers on grpcio: answers each call with its own address.

    fleet_server.py HOST:PORT     port 0 is a free one

Prints its port. On SIGTERM it drains: GOAWAY, a second for calls in flight. Ends with standard input, too. A line there that is
a state of `grpc.health.v1.Health`, SERVING or NOT_SERVING, is what the server says of its health from then on.
"""

import signal
import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


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
    states = health.HealthServicer()
    states.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    port = server.add_insecure_port(sys.argv[1])
    address = f"{host}:{port}".encode()
    handler.answer = bytes([1 << 3 | 2, len(address)]) + address
    server.start()
    print(port, flush=True)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())

    def read():
        for line in sys.stdin:
            states.set("", health_pb2.HealthCheckResponse.ServingStatus.Value(line.strip()))
        over.set()

    threading.Thread(target=read, daemon=True).start()
    over.wait()
    server.stop(1).wait()


main()
