"""A collector of grpcio's that prints the spans which examples/otel.rs exports, beside the server which that calls: it is busy at first.

Argument: the example's program. Exit code 0 if one trace came, with one span for the call, one for each attempt below it, and each attempt
brought its own span to the server.
"""

import concurrent.futures
import os
import subprocess
import sys

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

spans, parents = [], []


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.say) if details.method == "/test.Echo/Say" else None

    def say(self, message, context):
        parents.append(dict(context.invocation_metadata()).get("traceparent", ""))
        if len(parents) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return message


def value(attribute):
    return getattr(attribute.value, attribute.value.WhichOneof("value"))


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
    subprocess.run([sys.argv[1], f"127.0.0.1:{port}"], env=environment, timeout=60, check=True)
    server.stop(None).wait()

    spans.sort(key=lambda span: span.start_time_unix_nano)
    for span in spans:
        attributes = {attribute.key: value(attribute) for attribute in span.attributes}
        shown = {key: known for key, known in attributes.items() if not key.startswith(("code.", "thread.", "busy_", "idle_", "target", "level"))}
        print(f"{span.trace_id.hex()} {span.parent_span_id.hex() or '-':16} > {span.span_id.hex()} {span.name}")
        print(f"    kind {span.kind}, status {span.status.code} {span.status.message!r}, {shown}")
    print("at the server:", *parents)

    names = [span.name for span in spans]
    assert names == ["order", "test.Echo/Say", "Attempt.test.Echo/Say", "Attempt.test.Echo/Say"], names
    order, call, *attempts = spans
    assert len({span.trace_id for span in spans}) == 1, "one trace"
    assert call.parent_span_id == order.span_id, "the call is below the span that it was made in"
    assert all(attempt.parent_span_id == call.span_id for attempt in attempts), "attempts are below the call"
    carried = [f"00-{attempt.trace_id.hex()}-{attempt.span_id.hex()}-01" for attempt in attempts]
    assert parents == carried, (parents, carried)
    assert [attempt.status.message for attempt in attempts] == ["UNAVAILABLE, busy", ""]


main()
