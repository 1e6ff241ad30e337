"""The processes that these tests start: the server, which can be killed and comes back on its
port, and the proxy before it."""

import json
import os
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND = os.environ["PROXY_COMMAND"]
# What it appends to `user-agent`.
VERSION = " tonic-supervisor/" + subprocess.check_output(
    [COMMAND, "--version"], text=True).split()[-1]


class Server:
    """server.py, on one port for ever."""

    def __init__(self):
        self.port = 0
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "server.py"), str(self.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def stop(self):
        self.process.kill()
        self.process.wait()


class Proxy:
    """The command, before a server on this machine."""

    def __init__(self, server, *arguments, methods="", listen="127.0.0.1:0", keys=""):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".yaml")
        self.file.write("grpc:\n  host: 127.0.0.1\n  port: %d\n%s%s" % (server.port, keys, methods))
        self.file.flush()
        # No pipe: nobody would read it, and one that is full stops the proxy.
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [COMMAND, "--json", "proxy", "--config", self.file.name, "--listen", listen,
             *arguments],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.said())
        self.address = json.loads(line)["address"]

    def memory(self):
        """Its resident memory, in MiB."""
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def said(self):
        """What it has said on standard error."""
        self.errors.seek(0)
        return self.errors.read()

    def stop(self):
        """SIGTERM; its exit code, and what it said on standard error."""
        self.process.terminate()
        self.process.wait(timeout=30)
        return self.process.returncode, self.said()


# What a configuration says of methods that may run twice.
IDEMPOTENT = "  methods:\n    test.Kinds/*: {idempotent: true}\n"
