"""`tonic-supervisor call` beside `buf curl`: the same calls, of a grpcio server with reflection and of `serve`, must have the same
answers and the same errors.

Run by `.ci/queue-clients`, which sets QUEUE_COMMAND (the command) and QUEUE_BUF (buf).
"""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_tools import protoc

# What the server serves: every kind of method, and every kind of field that JSON has rules of its own for.
PROTO = """
syntax = "proto3";
package call.test;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Colour { COLOUR_UNSPECIFIED = 0; RED = 1; }

message Item {
  string text = 1;
  int64 big = 2;
  uint64 bigger = 3;
  double real = 4;
  float small = 5;
  bytes raw = 6;
  Colour colour = 7;
  repeated Item items = 8;
  map<string, Item> by_name = 9;
  map<int32, bool> flags = 10;
  optional int32 maybe = 11;
  oneof one { string left = 12; Item right = 13; }
  google.protobuf.Timestamp at = 14;
  google.protobuf.Duration took = 15;
  google.protobuf.Struct object = 16;
  google.protobuf.Value value = 17;
  google.protobuf.Int64Value wrapped = 18;
  google.protobuf.FieldMask mask = 19;
  google.protobuf.Any any = 20;
  uint32 snake_case_name = 21;
}

message Code { int32 code = 1; string text = 2; }

service Items {
  rpc Echo(Item) returns (Item);
  rpc Fail(Code) returns (Item);
  rpc Count(Item) returns (stream Item);
  rpc Join(stream Item) returns (Item);
  rpc Chat(stream Item) returns (stream Item);
  rpc Metadata(Item) returns (Item);
  rpc Slow(Item) returns (Item);
}
"""
# What nothing imports: an `Any` may hold it all the same.
HIDDEN = """
syntax = "proto3";
package call.hidden;
message Word { string word = 1; Word inner = 2; }
"""
ITEMS = "call.test.Items"


def generated(folder):
    """The messages and services of PROTO."""
    for name, text in [("items.proto", PROTO), ("hidden.proto", HIDDEN)]:
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    assert protoc.main(["protoc", "-I", folder, "-I", include, "--include_imports",
                        "--descriptor_set_out", os.path.join(folder, "items.bin"),
                        os.path.join(folder, "items.proto")]) == 0
    sys.path.insert(0, folder)
    grpc.protos("hidden.proto")
    return grpc.protos_and_services("items.proto")


class GrpcioServer:
    """The service on grpcio, with reflection and health."""

    def __init__(self, with_reflection=True):
        self.folder = tempfile.TemporaryDirectory()
        if not hasattr(GrpcioServer, "generated"):
            GrpcioServer.kept = tempfile.TemporaryDirectory()
            GrpcioServer.generated = generated(GrpcioServer.kept.name)
        messages, services = GrpcioServer.generated

        def details(code, text):
            """google.rpc.Status with one detail that reflection knows, and one that nobody does."""
            any_of = lambda name, value: b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(value)]) + value
            field = lambda value: b"\x1a" + bytes([len(value)]) + value
            known = any_of(b"type.googleapis.com/call.hidden.Word", b"\x0a\x01w")
            return bytes([8, code]) + b"\x12" + bytes([len(text)]) + text + field(known) + field(any_of(b"x/no.Such", b"abc"))

        class Items(services.ItemsServicer):
            def Echo(self, request, context):
                return request

            def Fail(self, request, context):
                codes = {code.value[0]: code for code in grpc.StatusCode}
                if request.text == "details":
                    context.set_trailing_metadata((("grpc-status-details-bin", details(request.code, b"details")),))
                context.abort(codes[request.code], request.text)

            def Count(self, request, context):
                for number in range(request.big):
                    yield messages.Item(text=request.text, big=number)

            def Join(self, requests, context):
                return messages.Item(text="+".join(request.text for request in requests))

            def Chat(self, requests, context):
                for request in requests:
                    yield messages.Item(text="re: " + request.text)

            def Metadata(self, request, context):
                pairs = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
                say = lambda value: value.hex() if isinstance(value, bytes) else value
                return messages.Item(text=",".join(sorted("%s=%s" % (key, say(value)) for key, value in pairs)))

            def Slow(self, request, context):
                time.sleep(30)
                return request

        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        services.add_ItemsServicer_to_server(Items(), self.server)
        checks = health.HealthServicer()
        checks.set("", health_pb2.HealthCheckResponse.SERVING)
        checks.set(ITEMS, health_pb2.HealthCheckResponse.NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(checks, self.server)
        if with_reflection:
            names = [ITEMS, "grpc.health.v1.Health", reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self.server)
        self.address = "127.0.0.1:%d" % self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def close(self):
        self.server.stop(0)
        self.folder.cleanup()


class Serve:
    """`tonic-supervisor serve`."""

    def __init__(self):
        arguments = ["--json", "serve", "--addr", "127.0.0.1:0", "--store", "memory"]
        self.process = subprocess.Popen([os.environ["QUEUE_COMMAND"], *arguments], stdout=subprocess.PIPE, text=True)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.process.stdout.close()


def run(arguments, stdin=None):
    return subprocess.run(arguments, input=stdin, capture_output=True, text=True, timeout=60)


def values(text):
    """The JSON values that follow each other in a text."""
    found, reader, at = [], json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = reader.raw_decode(text, at)
        found.append(value)
    return found


class Compared(unittest.TestCase):
    def call(self, *arguments, stdin=None):
        return run([os.environ["QUEUE_COMMAND"], "call", self.server.address, *arguments], stdin)

    def curl(self, method, data, headers=()):
        options = ["--protocol", "grpc", "--http2-prior-knowledge"]
        for header in headers:
            options += ["--header", header]
        return run([os.environ["QUEUE_BUF"], "curl", *options, "--data", data, f"http://{self.server.address}/{method}"])

    def same(self, method, data="{}", headers=()):
        """Makes the call with both; their answers, if both succeeded, or the error's code and words."""
        ours = self.call(method, "-d", data, "--exit-code", "grpc", *[part for header in headers for part in ("-H", header)])
        theirs = self.curl(method, data, headers)
        self.assertEqual(values(ours.stdout), values(theirs.stdout), (ours, theirs))
        self.assertEqual(ours.returncode == 0, theirs.returncode == 0, (ours, theirs))
        if ours.returncode == 0:
            return values(ours.stdout)
        error = json.loads(theirs.stderr)
        code = error["code"].upper().replace("CANCELED", "CANCELLED")
        prefix = f"tonic-supervisor: {method}: {code}"
        self.assertEqual(ours.stderr, f"{prefix}: {error['message']}\n" if error.get("message") else f"{prefix}\n")
        return ours.returncode


class Grpcio(Compared):
    @classmethod
    def setUpClass(cls):
        cls.server = GrpcioServer()
        cls.addClassCleanup(cls.server.close)

    def test_unary_calls_with_every_kind_of_field(self):
        whole = {
            "text": "a\u00fc\u65e5 \"'\\ \n", "big": "-9007199254740993", "bigger": "18446744073709551615", "real": 0.1,
            "small": 0.1, "raw": "AAH/", "colour": "RED", "items": [{"text": "b"}, {}], "byName": {"k": {"big": "1"}},
            "flags": {"-1": True, "2": False}, "maybe": 0, "right": {"maybe": 1}, "at": "2026-11-30T20:08:21.500Z",
            "took": "-1.250s", "object": {"a": [1, None, "x", {"b": True}]}, "value": [1, "2", None], "wrapped": "7",
            "mask": "a,bC.d", "any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"},
            "snakeCaseName": 3,
        }
        for request in [whole, {}, {"left": ""}, {"real": "NaN"}, {"real": "-Infinity"}, {"real": 1e300}, {"big": 7},
                        {"snake_case_name": 3}, {"colour": 1}, {"colour": 77}, {"value": None}, {"wrapped": "0"},
                        {"any": {"@type": "type.googleapis.com/call.test.Item", "text": "in"}},
                        {"any": {"@type": "type.googleapis.com/call.hidden.Word", "word": "w", "inner": {"word": "v"}}}]:
            with self.subTest(request=request):
                answers = self.same(f"{ITEMS}/Echo", json.dumps(request))
                self.assertEqual(len(answers), 1)

    def test_streams_of_all_kinds(self):
        three = '{"text": "a"}{"text": "b"}\n{"text": "c"}'
        self.assertEqual(len(self.same(f"{ITEMS}/Count", '{"text": "n", "big": 5}')), 5)
        self.assertEqual(self.same(f"{ITEMS}/Count", "{}"), [])
        self.assertEqual(self.same(f"{ITEMS}/Join", three), [{"text": "a+b+c"}])
        self.assertEqual(self.same(f"{ITEMS}/Chat", three), [{"text": f"re: {text}"} for text in "abc"])

    def test_errors_have_the_same_code_and_words(self):
        for code in range(1, 17):
            # Those that are retried take their time: `--no-retry` is for them.
            with self.subTest(code=code):
                data = json.dumps({"code": code, "text": "kein Schl\u00fcssel #%d" % code})
                if code in (2, 4, 8, 10, 13, 14):
                    ours = self.call(f"{ITEMS}/Fail", "-d", data, "--exit-code", "grpc", "--no-retry")
                    self.assertEqual(ours.returncode, 64 + code, ours)
                    error = json.loads(self.curl(f"{ITEMS}/Fail", data).stderr)
                    self.assertIn(f"{error['code'].upper()}: {error['message']}\n", ours.stderr)
                else:
                    self.assertEqual(self.same(f"{ITEMS}/Fail", data), 64 + code)

    def test_an_any_with_what_is_not_known_anywhere_is_refused(self):
        request = json.dumps({"any": {"@type": "type.googleapis.com/no.Such", "x": 1}})
        said = self.call(f"{ITEMS}/Echo", "-d", request)
        self.assertEqual((said.returncode, said.stdout), (2, ""), said)
        self.assertIn("no.Such", said.stderr)

    def test_details_of_an_error_are_shown(self):
        said = self.call(f"{ITEMS}/Fail", "-d", '{"code": 9, "text": "details"}')
        lines = [f"tonic-supervisor: {ITEMS}/Fail: FAILED_PRECONDITION: details",
                 'detail: {"@type":"type.googleapis.com/call.hidden.Word","word":"w"}', "detail: x/no.Such, 3 bytes"]
        self.assertEqual((said.returncode, said.stderr.splitlines()), (1, lines), said)

    def test_metadata_goes_along(self):
        headers = ["x-a: 1", "x-b: two words", "x-c-bin: AAH/"]
        self.assertEqual(self.same(f"{ITEMS}/Metadata", "{}", headers), [{"text": "x-a=1,x-b=two words,x-c-bin=0001ff"}])

    def test_a_stream_can_be_typed(self):
        arguments = [os.environ["QUEUE_COMMAND"], "call", self.server.address, f"{ITEMS}/Chat", "-d", "-"]
        process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for text in ["one", "two"]:
            process.stdin.write(json.dumps({"text": text}))
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline()), {"text": f"re: {text}"})
        process.stdin.close()
        self.assertEqual((process.wait(timeout=30), process.stdout.read()), (0, ""))
        process.stdout.close()

    def test_a_mistake_in_what_is_typed_ends_the_call_with_2(self):
        said = self.call(f"{ITEMS}/Join", "-d", "-", stdin='{"text": "a"} {"txt": 1}')
        self.assertEqual((said.returncode, said.stdout), (2, ""), said)
        self.assertIn("message 2 is not a call.test.Item", said.stderr)

    def test_what_is_read_from_a_file_or_standard_input_is_the_same(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{"text": "f"}')
            file.flush()
            for said in [self.call(f"{ITEMS}/Echo", "-d", f"@{file.name}"), self.call(f"{ITEMS}/Echo", "-d", "-", stdin='{"text": "f"}')]:
                self.assertEqual((said.returncode, values(said.stdout)), (0, [{"text": "f"}]), said)

    def test_list_and_describe(self):
        services = self.call("list").stdout.split()
        self.assertIn(ITEMS, services)
        methods = self.call("list", ITEMS).stdout.split()
        self.assertEqual(methods[0], f"{ITEMS}/Echo")
        self.assertIn("  rpc Chat(stream call.test.Item) returns (stream call.test.Item);", self.call("describe", ITEMS).stdout)
        item = self.call("describe", "call.test.Item").stdout
        for line in ["map<string, call.test.Item> by_name = 9;", "optional int32 maybe = 11;", "oneof one {"]:
            self.assertIn(line, item)
        example = self.call(f"{ITEMS}/Echo", "--template")
        echoed = self.call(f"{ITEMS}/Echo", "-d", example.stdout)
        self.assertEqual((example.returncode, echoed.returncode), (0, 0), echoed)

    def test_only_the_dial(self):
        said = self.call()
        self.assertEqual(said.returncode, 0, said)
        self.assertIn("connected", said.stdout)
        services = [line[20:] for line in said.stdout.splitlines() if line[9:17] == "services" or line[:20].isspace()]
        self.assertEqual(services[:2], [f"{ITEMS} (NOT_SERVING)", "grpc.health.v1.Health (SERVING)"])

    def test_without_reflection_descriptors_do(self):
        bare = GrpcioServer(with_reflection=False)
        self.addCleanup(bare.close)
        command = [os.environ["QUEUE_COMMAND"], "call", bare.address]
        said = run([*command, f"{ITEMS}/Echo"])
        self.assertEqual(said.returncode, 1, said)
        self.assertRegex(said.stderr, r"has no reflection.*--descriptors FILE.*\n$")
        self.assertEqual(run([*command]).returncode, 0)
        descriptors = os.path.join(GrpcioServer.kept.name, "items.bin")
        said = run([*command, f"{ITEMS}/Echo", "-d", '{"text": "x"}', "--descriptors", descriptors, "--explain"])
        self.assertEqual((said.returncode, said.stdout), (0, '{"text":"x"}\n'), said)
        self.assertRegex(said.stderr, r"(?s)dial .*connected .*call .*answer .*ended +OK")

    def test_interrupts_and_readers_that_leave_end_a_stream(self):
        arguments = [os.environ["QUEUE_COMMAND"], "call", self.server.address, f"{ITEMS}/Slow"]
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=30), 130)
        self.assertLess(time.monotonic() - began, 5)
        process.stderr.close()
        many = json.dumps({"big": 10_000_000})
        process = subprocess.Popen([*arguments[:-1], f"{ITEMS}/Count", "-d", many], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual((process.wait(timeout=30), process.stderr.read()), (0, ""))
        process.stderr.close()

    def test_the_time_is_kept(self):
        began = time.monotonic()
        said = self.call(f"{ITEMS}/Slow", "--timeout", "1", "--exit-code", "grpc")
        self.assertEqual(said.returncode, 68, said)
        self.assertLess(time.monotonic() - began, 10)


class OfServe(Compared):
    """The agent queue's own server."""

    @classmethod
    def setUpClass(cls):
        cls.server = Serve()
        cls.addClassCleanup(cls.server.close)

    def test_answers_and_errors(self):
        queue = "agent_queue.v1.AgentQueue"
        self.assertEqual(self.same(f"{queue}/QueueExists", '{"agentId": "nobody"}'), [{}])
        self.assertEqual(self.same(f"{queue}/GetQueueInfo", '{"agentId": "nobody"}'), 64 + 5)
        self.assertEqual(self.same(f"{queue}/CreateQueue", '{"agentId": ""}'), 64 + 3)
        made = self.call(f"{queue}/CreateQueue", "-d", '{"agentId": "a"}')
        self.assertEqual((made.returncode, made.stdout), (0, "{}\n"), made)
        self.assertTrue(self.same(f"{queue}/CreateQueue", '{"agentId": "a"}')[0]["alreadyExists"])
        self.assertTrue(self.same(f"{queue}/HealthCheck")[0]["healthy"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
