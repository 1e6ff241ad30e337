"""Thirteen kinds of calls from grpcio, each made directly and through the proxy: what a client sees
of them must be the same, but for a table of exceptions, each of which must show.

    kinds.py
"""

import json
import sys

import grpc

from processes import IDEMPOTENT, VERSION, Proxy, Server

BIG = bytes(range(256)) * 32768  # 8 MiB
METADATA = (("x-a", "2"), ("x-a", "1"), ("x-b-bin", b"\x00\xff\x10"), ("x-c", "z z"), ("x-a", "3"))
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def seen(call, messages):
    """All that a client learns of a call. `messages` reads them."""
    outcome = {"messages": []}
    try:
        for message in messages():
            outcome["messages"].append(message.hex() if len(message) < 200 else len(message))
    except grpc.RpcError:
        pass
    show = lambda pairs: [(key, value.hex() if isinstance(value, bytes) else value)
                          for key, value in pairs]
    outcome["head"] = show(call.initial_metadata())
    outcome["trailers"] = show(call.trailing_metadata())
    outcome["code"], outcome["words"] = call.code().name, call.details()
    return outcome


def unary(channel, method, request=b"hello", **options):
    future = channel.unary_unary("/test.Kinds/" + method).future(request, **options)
    return seen(future, lambda: [future.result()])


def stream(channel, method, request, **options):
    call = channel.unary_stream("/test.Kinds/" + method)(request, **options)
    return seen(call, lambda: call)


def compressed(channel):
    return unary(channel, "compressed", BIG[:100000], compression=grpc.Compression.Gzip)


def join(channel):
    future = channel.stream_unary("/test.Kinds/join").future(iter([b"a", b"b", b"c"]))
    return seen(future, lambda: [future.result()])


def chat(channel):
    """Each message only after the answer to the one before."""
    import queue

    requests = queue.Queue()
    call = channel.stream_stream("/test.Kinds/chat")(iter(requests.get, None))

    def turns():
        for text in [b"one", b"two", b"three"]:
            requests.put(text)
            yield next(call)
        requests.put(None)
        yield from call

    return seen(call, turns)


def cancel(channel):
    before = int(channel.unary_unary("/test.Kinds/cancelled")(b""))
    call = channel.unary_stream("/test.Kinds/endless")(b"")
    first = next(call)
    call.cancel()
    for _ in range(200):
        if int(channel.unary_unary("/test.Kinds/cancelled")(b"")) > before:
            return {"first": first.hex(), "code": call.code().name, "server heard": True}
    return {"server heard": False}


KINDS = {
    "unary": lambda channel: unary(channel, "echo"),
    "an empty message": lambda channel: unary(channel, "echo", b""),
    "metadata": lambda channel: unary(channel, "metadata", metadata=METADATA),
    "failure with details": lambda channel: unary(channel, "fail"),
    "failure after the head": lambda channel: unary(channel, "fail_after_head"),
    "the time that is left": lambda channel: unary(channel, "remaining", timeout=100.9),
    "a deadline": lambda channel: unary(channel, "slow", b"3", timeout=0.3),
    "gzip": compressed,
    "8 MiB": lambda channel: unary(channel, "echo", BIG),
    "server streaming": lambda channel: stream(channel, "count", b"50"),
    "client streaming": join,
    "both streaming": chat,
    "a stream that breaks off": lambda channel: stream(channel, "breaks_off", b""),
    "cancel": cancel,
    "unimplemented": lambda channel: unary(channel, "no_such_method"),
}

# Where what a client sees may differ: (kind, how), with what must be true of it.
EXCEPTIONS = {
    "metadata": ("user-agent", lambda direct, through: through == direct + VERSION),
    # Whose timer is first says it: the client's own, or the proxy's.
    "a deadline": ("words", lambda direct, through: True),
}


def apart(kind, direct, through):
    """Takes the exception of this kind out of both; whether it holds."""
    name, holds = EXCEPTIONS[kind]
    if name == "words":
        return holds(direct.pop("words"), through.pop("words"))
    told = [json.loads(bytes.fromhex(outcome["messages"].pop())) if len(outcome["messages"][0]) else {}
            for outcome in (direct, through)]
    values = [fields.pop(name)[0] for fields in told]
    direct["said"], through["said"] = told
    return holds(*values)


def main():
    server = Server()
    failures = 0
    for name, arguments, methods in [
        ("as it comes", [], ""),
        ("idempotent, with --tell", ["--tell"], IDEMPOTENT),
    ]:
        proxy = Proxy(server, *arguments, methods=methods)
        for kind, make in KINDS.items():
            with grpc.insecure_channel(server.address, options=LIMITS) as channel:
                direct = make(channel)
            with grpc.insecure_channel(proxy.address, options=LIMITS) as channel:
                through = make(channel)
            if arguments and "trailers" in through:
                told = [key for key, _ in through["trailers"] if key.startswith("x-tonic-sup")]
                through["trailers"] = [it for it in through["trailers"] if it[0] not in told]
                if len(told) != 3 and kind != "a deadline":
                    print("%s: %s: told only %s" % (name, kind, told))
                    failures += 1
            holds = kind not in EXCEPTIONS or apart(kind, direct, through)
            if direct != through or not holds:
                print("%s: %s differs:\n  direct  %s\n  through %s" % (name, kind, direct, through))
                failures += 1
        print("%s: %d kinds compared" % (name, len(KINDS)))
        if proxy.stop()[0] != 0:
            failures += 1
    server.stop()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
