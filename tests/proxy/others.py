"""grpc-js and `buf curl` through the proxy, beside a direct connection; what idle and slow clients
cost it; and its end.

    others.py
"""

import json
import os
import socket
import subprocess
import sys
import time

import grpc

from processes import COMMAND, HERE, VERSION, Proxy, Server


def node(server, proxy):
    return subprocess.run(["node", os.path.join(HERE, "kinds.js"), server.address, proxy.address,
                           VERSION],
                          timeout=60).returncode == 0


class Queue:
    """`serve`, which has reflection, as a server."""

    def __init__(self):
        self.process = subprocess.Popen(
            [COMMAND, "--json", "serve", "--store", "memory", "--addr", "127.0.0.1:0"],
            stdout=subprocess.PIPE, text=True)
        self.address = json.loads(self.process.stdout.readline())["address"]
        self.port = int(self.address.rsplit(":", 1)[1])


def buf_curl():
    """Finds the schema by reflection, through the proxy, too."""
    queue = Queue()
    proxy = Proxy(queue, "--reflect")
    answers = []
    for address in [queue.address, proxy.address]:
        for method, data in [("HealthCheck", "{}"), ("QueueExists", '{"agentId": "nobody"}'),
                             ("GetQueueInfo", '{"agentId": "nobody"}'),
                             ("GetQueueInfo", "{}"), ("CancelTask", '{"taskId": "none"}')]:
            run = subprocess.run(
                [os.environ["PROXY_BUF"], "curl", "--protocol", "grpc", "--http2-prior-knowledge",
                 "--data", data, "http://%s/agent_queue.v1.AgentQueue/%s" % (address, method)],
                capture_output=True, text=True, timeout=60)
            answers.append((run.returncode, run.stdout, run.stderr))
    proxy.stop()
    queue.process.terminate()
    queue.process.wait()
    directly, through = answers[:len(answers) // 2], answers[len(answers) // 2:]
    if directly != through:
        print("buf curl: directly %s\nthrough the proxy %s" % (directly, through))
    codes = [answer[0] for answer in directly]
    print("buf curl: %d calls compared, exit codes %s" % (len(directly), codes))
    return directly == through and codes[0] == 0 and len(set(codes)) > 2


# What docs/proxy.md says that may lie on the link for an answer that nobody reads, in MiB, and what
# a connection costs beside it.
STREAM, CONNECTION = 2, 0.1


def idle_and_slow(server):
    """100 that say nothing, 10 that read nothing: what they cost, and that others are served."""
    proxy = Proxy(server, "--handshake-timeout", "3", "--answer-timeout", "4")
    address = ("127.0.0.1", int(proxy.address.rsplit(":", 1)[1]))
    before = proxy.memory()
    idle = [socket.create_connection(address) for _ in range(100)]
    options = [("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0)]
    slow = []
    for _ in range(10):
        channel = grpc.insecure_channel(proxy.address, options=options + [("grpc.use_local_subchannel_pool", 1)])
        call = channel.unary_stream("/test.Kinds/flood")(b"300")
        next(call)
        slow.append((channel, call))
    time.sleep(2)
    with grpc.insecure_channel(proxy.address) as channel:
        fine = channel.unary_unary("/test.Kinds/echo")(b"x", timeout=20) == b"x"
    cost = proxy.memory() - before
    time.sleep(4)
    closed = sum(one.recv(1024) == b"" for one in idle)
    codes = []
    for channel, call in slow:
        try:
            for _ in call:
                pass
            codes.append("OK")
        except grpc.RpcError as error:
            codes.append(error.code().name)
        channel.close()
    limit = 10 * STREAM + 110 * CONNECTION
    print("100 idle and 10 slow clients: %.1f MiB of %.1f; %d idle ones closed; the slow ones ended %s"
          % (cost, limit, closed, sorted(set(codes))))
    stopped = proxy.stop()[0] == 0
    return fine and closed == 100 and cost < limit and set(codes) == {"RESOURCE_EXHAUSTED"} and stopped


def drains(server):
    """SIGTERM: what is in flight is answered, and the process ends well."""
    proxy = Proxy(server)
    with grpc.insecure_channel(proxy.address) as channel:
        call = channel.unary_unary("/test.Kinds/slow").future(b"1.5")
        time.sleep(0.5)
        began = time.monotonic()
        code, _ = proxy.stop()
        took = time.monotonic() - began
        answered = call.result() == b"1.5"
    print("SIGTERM: in flight answered: %s; exit code %d after %.1f s" % (answered, code, took))
    return answered and code == 0 and took < 5


def main():
    server = Server()
    proxy = Proxy(server)
    results = {"grpc-js": node(server, proxy)}
    proxy.stop()
    results["buf curl"] = buf_curl()
    results["idle and slow clients"] = idle_and_slow(server)
    results["drain"] = drains(server)
    server.stop()
    failed = [name for name, good in results.items() if not good]
    if failed:
        print("failed: %s" % ", ".join(failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
