"""gRPC's interop test service on grpcio: what `interop.proto` says, and beside it how many streams are over.

    interop_server.py PORT [OPTION=NUMBER ...]     options are grpcio's channel arguments; port 0 is a free one

Prints its port. On SIGTERM it drains: GOAWAY, a second for calls in flight. Ends with standard input, too.
"""

import signal
import sys
import threading
import time
from concurrent import futures

import grpc

messages, services = grpc.protos_and_services("interop.proto")
INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def payload(size):
    return messages.Payload(body=bytes(size))


def echo_metadata(context):
    metadata = dict(context.invocation_metadata())
    if INITIAL in metadata:
        context.send_initial_metadata(((INITIAL, metadata[INITIAL]),))
    if TRAILING in metadata:
        context.set_trailing_metadata(((TRAILING, metadata[TRAILING]),))


def echo_status(request, context):
    if request.response_status.code:
        context.abort(CODES[request.response_status.code], request.response_status.message)


class TestService(services.TestServiceServicer):
    def __init__(self):
        self.begun = self.over = 0

    def EmptyCall(self, request, context):
        return messages.Empty()

    def UnaryCall(self, request, context):
        echo_metadata(context)
        echo_status(request, context)
        return messages.SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request, context):
        for wanted in request.response_parameters:
            time.sleep(wanted.interval_us / 1e6)
            yield messages.StreamingOutputCallResponse(payload=payload(wanted.size))

    def StreamingInputCall(self, requests, context):
        self.count(context)
        size = sum(len(request.payload.body) for request in requests)
        return messages.StreamingInputCallResponse(aggregated_payload_size=size)

    def FullDuplexCall(self, requests, context):
        self.count(context)
        echo_metadata(context)
        for request in requests:
            echo_status(request, context)
            yield from self.StreamingOutputCall(request, context)

    def count(self, context):
        def over():
            self.over += 1

        self.begun += 1
        if not context.add_callback(over):
            over()


class Counts(grpc.GenericRpcHandler):
    """`/test.Counts/Streams`: how many streams of requests have begun (field 1), and how many are over (field 2)."""

    def __init__(self, service):
        message = lambda request, context: bytes([1 << 3, service.begun, 2 << 3, service.over])
        self.handler = grpc.unary_unary_rpc_method_handler(message)

    def service(self, details):
        return self.handler if details.method == "/test.Counts/Streams" else None


def main():
    options = [(name, int(number)) for name, number in (option.split("=") for option in sys.argv[2:])]
    service = TestService()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), handlers=(Counts(service),), options=options)
    services.add_TestServiceServicer_to_server(service, server)
    print(server.add_insecure_port("127.0.0.1:" + sys.argv[1]), flush=True)
    server.start()
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    over.wait()
    server.stop(1).wait()


main()
