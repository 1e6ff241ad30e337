// Calls from grpc-js, each made directly and through the proxy; what the client sees must be the
// same. Arguments: the server's address, the proxy's, and what that appends to `user-agent`. `NODE_PATH` has @grpc/grpc-js.
"use strict";

const grpc = require("@grpc/grpc-js");
const assert = require("assert");

const raw = (bytes) => Buffer.from(bytes);
const path = (method) => "/test.Kinds/" + method;

function fields(metadata) {
  const map = metadata ? metadata.toJSON() : {};
  for (const key of ["date", "content-type", "grpc-accept-encoding", "accept-encoding"]) delete map[key];
  return JSON.stringify(map);
}

function ended(outcome, call) {
  return new Promise((resolve) => {
    call.on("metadata", (head) => (outcome.head = fields(head)));
    call.on("data", (message) => outcome.messages.push(message.toString()));
    call.on("error", () => {});
    call.on("status", (status) => {
      Object.assign(outcome, { code: status.code, words: status.details, trailers: fields(status.metadata) });
      // The answer's own callback comes first or later: it has its turn.
      setImmediate(() => resolve(outcome));
    });
  });
}

function unary(client, method, request, metadata, options) {
  const outcome = { messages: [] };
  const take = (error, answer) => answer && outcome.messages.push(answer.toString());
  const call = client.makeUnaryRequest(path(method), raw, raw, Buffer.from(request), metadata, options, take);
  return ended(outcome, call);
}

const sent = new grpc.Metadata();
for (const value of ["2", "1", "3"]) sent.add("x-a", value);
sent.add("x-b-bin", Buffer.from([0, 255, 16]));

const kinds = {
  unary: (client) => unary(client, "echo", "hello", new grpc.Metadata(), {}),
  metadata: async (client) => {
    const outcome = await unary(client, "metadata", "", sent, {});
    const said = JSON.parse(outcome.messages.pop());
    said["user-agent"][0] = said["user-agent"][0].replace(process.argv[4], "");
    return { ...outcome, said };
  },
  "failure with details": (client) => unary(client, "fail", "", new grpc.Metadata(), {}),
  "server streaming": (client) =>
    ended({ messages: [] }, client.makeServerStreamRequest(path("count"), raw, raw, Buffer.from("20"))),
  "client streaming": (client) => {
    const outcome = { messages: [] };
    const take = (error, answer) => answer && outcome.messages.push(answer.toString());
    const call = client.makeClientStreamRequest(path("join"), raw, raw, take);
    for (const text of ["a", "b", "c"]) call.write(Buffer.from(text));
    call.end();
    return ended(outcome, call);
  },
  "both streaming": (client) => {
    const call = client.makeBidiStreamRequest(path("chat"), raw, raw);
    for (const text of ["a", "b", "c"]) call.write(Buffer.from(text));
    call.end();
    return ended({ messages: [] }, call);
  },
  "a stream that breaks off": (client) =>
    ended({ messages: [] }, client.makeServerStreamRequest(path("breaks_off"), raw, raw, Buffer.from(""))),
  unimplemented: (client) => unary(client, "no_such_method", "", new grpc.Metadata(), {}),
};

async function main() {
  const clients = process.argv.slice(2, 4).map((at) => new grpc.Client(at, grpc.credentials.createInsecure()));
  for (const [name, make] of Object.entries(kinds)) {
    const [direct, through] = [await make(clients[0]), await make(clients[1])];
    assert.deepStrictEqual(through, direct, name);
  }
  console.log(`${Object.keys(kinds).length} kinds compared`);
  clients.forEach((client) => client.close());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
