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

const shown = (message) => (message.length < 200 ? message.toString() : message.length);

function ended(outcome, call) {
  return new Promise((resolve) => {
    call.on("metadata", (head) => (outcome.head = fields(head)));
    call.on("data", (message) => outcome.messages.push(shown(message)));
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
  const take = (error, answer) => answer && outcome.messages.push(shown(answer));
  const call = client.makeUnaryRequest(path(method), raw, raw, Buffer.from(request), metadata, options, take);
  return ended(outcome, call);
}

const sent = new grpc.Metadata();
for (const value of ["2", "1", "3"]) sent.add("x-a", value);
sent.add("x-b-bin", Buffer.from([0, 255, 16]));

const none = new grpc.Metadata();
const big = Buffer.alloc(8 << 20, "a");

// Of a client and one that compresses what it sends.
const kinds = {
  unary: (client) => unary(client, "echo", "hello", none, {}),
  "an empty message": (client) => unary(client, "echo", "", none, {}),
  metadata: async (client) => {
    const outcome = await unary(client, "metadata", "", sent, {});
    const said = JSON.parse(outcome.messages.pop());
    said["user-agent"][0] = said["user-agent"][0].replace(process.argv[4], "");
    return { ...outcome, said };
  },
  "failure with details": (client) => unary(client, "fail", "", none, {}),
  "failure after the head": (client) => unary(client, "fail_after_head", "", none, {}),
  "the time that is left": (client) => unary(client, "remaining", "", none, { deadline: Date.now() + 100900 }),
  "a deadline": async (client) => {
    // Whose timer is first says it: the client's own, or the proxy's.
    const { words, ...outcome } = await unary(client, "slow", "3", none, { deadline: Date.now() + 300 });
    return { code: outcome.code, messages: outcome.messages };
  },
  gzip: (client, zipping) => unary(zipping, "compressed", big.subarray(0, 100000), none, {}),
  "8 MiB": (client) => unary(client, "echo", big, none, {}),
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
  cancel: async (client) => {
    const before = await unary(client, "cancelled", "", none, {});
    const call = client.makeServerStreamRequest(path("endless"), raw, raw, Buffer.from(""));
    call.once("data", () => call.cancel());
    const { code } = await ended({ messages: [] }, call);
    for (;;) {
      const after = await unary(client, "cancelled", "", none, {});
      if (Number(after.messages[0]) > Number(before.messages[0])) return { code, heard: true };
    }
  },
  unimplemented: (client) => unary(client, "no_such_method", "", none, {}),
};

async function main() {
  const limits = { "grpc.max_receive_message_length": -1 };
  const client = (at, options) => new grpc.Client(at, grpc.credentials.createInsecure(), { ...limits, ...options });
  const pairs = process.argv.slice(2, 4).map((at) => [client(at), client(at, { "grpc.default_compression_algorithm": 2 })]);
  for (const [name, make] of Object.entries(kinds)) {
    const [direct, through] = [await make(...pairs[0]), await make(...pairs[1])];
    assert.deepStrictEqual(through, direct, name);
  }
  console.log(`${Object.keys(kinds).length} kinds compared`);
  pairs.flat().forEach((client) => client.close());
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
