"""A gRPC server whose methods show what crossed the wire: what it was sent, it says.

    server.py PORT        port 0 is a free one

Prints its port. Ends with standard input, or when it is killed.
"""

import json
import sys
import threading
import time
from concurrent import futures

import grpc

DETAILS = b"\x08\x05\x12\x02hi\x1a\x1b\x0a\x04x/yz\x12\x13\x00\x01\xff details in bytes"
seen = {"cancelled": 0}


def said(context):
    """The request's metadata, as JSON: in order for each key, bytes as hex."""
    fields = {}
    for key, value in context.invocation_metadata():
        fields.setdefault(key, []).append(value.hex() if isinstance(value, bytes) else value)
    return json.dumps(fields, sort_keys=True).encode()


def mark(context):
    context.send_initial_metadata((("x-head", "1"), ("x-head", "2"), ("x-head-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-late", "b"), ("x-late", "a"), ("x-late-bin", b"\x01\xfe")))


def echo(request, context):
    return request


def metadata(request, context):
    mark(context)
    return said(context)


def fail(request, context):
    context.set_trailing_metadata((("x-late", "1"), ("grpc-status-details-bin", DETAILS)))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "kein Schlüssel? #1: {100} % \n 錠")


def fail_after_head(request, context):
    mark(context)
    context.abort(grpc.StatusCode.NOT_FOUND, "not here")


def remaining(request, context):
    return str(int(context.time_remaining() or -1)).encode()


def slow(request, context):
    time.sleep(float(request or b"5"))
    return request


def compressed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return request


def count(request, context):
    mark(context)
    for number in range(int(request)):
        yield str(number).encode()


def flood(request, context):
    for _ in range(int(request)):
        yield bytes(100000)


def breaks_off(request, context):
    for number in range(3):
        yield str(number).encode()
    context.abort(grpc.StatusCode.DATA_LOSS, "the disk is gone")


def join(requests, context):
    return b"+".join(requests)


def chat(requests, context):
    mark(context)
    for request in requests:
        yield b"re: " + request


def endless(request, context):
    def over():
        seen["cancelled"] += 1

    context.add_callback(over)
    while context.is_active():
        yield b"x"
        time.sleep(0.02)


def cancelled(request, context):
    return str(seen["cancelled"]).encode()


UNARY = [echo, metadata, fail, fail_after_head, remaining, slow, compressed, cancelled]
METHODS = {}
for method in UNARY:
    METHODS["/test.Kinds/" + method.__name__] = grpc.unary_unary_rpc_method_handler(method)
for method in [count, flood, breaks_off, endless]:
    METHODS["/test.Kinds/" + method.__name__] = grpc.unary_stream_rpc_method_handler(method)
METHODS["/test.Kinds/join"] = grpc.stream_unary_rpc_method_handler(join)
METHODS["/test.Kinds/chat"] = grpc.stream_stream_rpc_method_handler(chat)


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS.get(details.method)


def main():
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
               ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(32), handlers=(Handler(),), options=options)
    # A killed server's port may take a moment to be free.
    for _ in range(100):
        try:
            port = server.add_insecure_port("127.0.0.1:" + sys.argv[1])
            break
        except RuntimeError:
            time.sleep(0.02)
    server.start()
    print(port, flush=True)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    over.wait()
    server.stop(0)


main()
