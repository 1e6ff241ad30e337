"""A grpcio client for the peers suite: makes each call that a line of standard input describes in JSON, and prints what it has seen
of it, a line each. Ends with standard input.
"""

import json
import sys
import threading
from concurrent import futures

import grpc

MESSAGE = b"\n\x05hello"
writing = threading.Lock()


def shown(value):
    """Bytes as hex, or how many where they are many."""
    if isinstance(value, bytes):
        return value.hex() if len(value) < 100 else "%d bytes" % len(value)
    return value if len(value) < 1000 else "%d characters" % len(value)


def fields(pairs):
    return [[key, shown(value)] for key, value in pairs or ()]


def answer(wanted):
    """Whatever happens, there is a line."""
    try:
        seen = call(wanted)
    except Exception as error:  # What grpcio raises in place of a status.
        seen = {"code": type(error).__name__, "words": str(error), "messages": [], "head": [], "trailers": []}
    with writing:
        print(json.dumps({"id": wanted["id"], **seen}), flush=True)


def call(wanted):
    """A call on a channel of its own, as a program makes it that says nothing of retries."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    messages = []
    with grpc.insecure_channel(wanted["address"], options=options) as channel:
        if wanted["streaming"]:
            ended = channel.unary_stream(wanted["method"])(MESSAGE, timeout=wanted["timeout"])
            answers = ended
        else:
            ended = channel.unary_unary(wanted["method"]).future(MESSAGE, timeout=wanted["timeout"])
            answers = (ended.result() for _ in range(1))
        try:
            messages.extend(shown(message) for message in answers)
        except grpc.RpcError:
            pass
        return {
            "code": ended.code().name,
            "words": ended.details() or "",
            "messages": messages,
            "head": fields(ended.initial_metadata()),
            "trailers": fields(ended.trailing_metadata()),
        }


with futures.ThreadPoolExecutor(32) as threads:
    print("ready", flush=True)
    for line in sys.stdin:
        threads.submit(answer, json.loads(line))
