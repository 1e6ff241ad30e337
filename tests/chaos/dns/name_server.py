"""A name server on 127.0.0.1:53, on dnslib. Each name is answered as the last command about it says.

Commands are JSON objects, one a line, each answered by one line:
    {"name": NAME, "mode": MODE, "records": [ADDRESS, ...], "take": COUNT}
        MODE is "answer", "servfail", "empty" (no error and no record), "mute", or "slow" (the answer comes 5 s late).
        With "take", each answer has the next COUNT of the records. The reply is "ok".
    {"count": NAME}     how many times its A records were asked for since the last such command

Records have a TTL of 0, and there are no AAAA records. UDP answers above 512 bytes are truncated, so that
the whole comes over TCP.
"""

import json
import socket
import struct
import sys
import threading
import time

from dnslib import A, QTYPE, RCODE, RR, DNSError
from dnslib.server import DNSHandler, DNSLogger, DNSServer

SLOW = 5.0
UDP_LIMIT = 512


class Handler(DNSHandler):
    """dnslib answers one question a connection; resolvers send two at once."""

    def handle(self):
        if self.server.socket_type == socket.SOCK_DGRAM:
            return super().handle()
        self.protocol = "tcp"
        stream = self.request.makefile("rb")
        while len(length := stream.read(2)) == 2:
            reply = self.get_reply(stream.read(*struct.unpack("!H", length)))
            self.request.sendall(struct.pack("!H", len(reply)) + reply)


class Names:
    def __init__(self):
        self.lock = threading.Lock()
        self.names = {}
        self.asked = {}

    def say(self, command):
        with self.lock:
            self.names[command["name"]] = dict(command, offset=0)

    def count(self, name):
        with self.lock:
            return self.asked.pop(name, 0)

    def resolve(self, request, handler):
        """What is true when the question comes is the answer, however late that is."""
        question, reply = request.q, request.reply()
        name = str(question.qname).rstrip(".")
        with self.lock:
            said = self.names.get(name, {"mode": "nxdomain"})
            mode, records = said["mode"], []
            if question.qtype == QTYPE.A:
                self.asked[name] = self.asked.get(name, 0) + 1
                records = said.get("records", [])
                if said.get("take"):
                    first, said["offset"] = said["offset"], said["offset"] + said["take"]
                    records = [records[place % len(records)] for place in range(first, first + said["take"])]
        if mode == "mute":
            raise DNSError("mute")
        if mode == "slow":
            time.sleep(SLOW)
        if mode in ("servfail", "nxdomain"):
            reply.header.rcode = getattr(RCODE, mode.upper())
        elif mode != "empty":
            for address in records:
                reply.add_answer(RR(question.qname, QTYPE.A, rdata=A(address), ttl=0))
        if handler.protocol == "udp" and len(reply.pack()) > UDP_LIMIT:
            # dnslib's own truncation leaves the question out, and resolvers take no such answer.
            reply = request.reply()
            reply.header.tc = 1
        return reply


def main():
    names, logger = Names(), DNSLogger(logf=lambda line: None)
    for tcp in (False, True):
        DNSServer(names, port=53, address="127.0.0.1", tcp=tcp, logger=logger, handler=Handler).start_thread()
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "count" in command:
            print(names.count(command["count"]), flush=True)
        else:
            names.say(command)
            print("ok", flush=True)


main()
