"""A gRPC server for the peers suite: echoes, and says who the client is. Prints its port, ends with standard input.

    grpc_server.py tcp CA CERTIFICATE KEY     mutual TLS on a free port of 127.0.0.1
    grpc_server.py unix PATH                  plaintext on a Unix socket
"""

import sys
from concurrent import futures

import grpc


def echo(request, context):
    names = context.auth_context().get("x509_common_name", [b""])
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("who", names[0].decode()), ("token", metadata.get("authorization", ""))))
    return request


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(echo) if details.method == "/test.Echo/Say" else None


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), handlers=(Handler(),))
    if sys.argv[1] == "unix":
        place = server.add_insecure_port("unix:" + sys.argv[2])
    else:
        authority, certificate, key = (open(path, "rb").read() for path in sys.argv[2:])
        credentials = grpc.ssl_server_credentials(((key, certificate),), authority, require_client_auth=True)
        place = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    print(place, flush=True)
    sys.stdin.read()
    server.stop(0)


main()
