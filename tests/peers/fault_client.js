// A grpc-js client for the peers suite: makes each call that a line of standard input describes in JSON, and prints what it has seen
// of it, a line each. Ends with standard input. `NODE_PATH` has @grpc/grpc-js.
"use strict";

const grpc = require("@grpc/grpc-js");
const readline = require("readline");

const MESSAGE = Buffer.from("\n\x05hello");
const raw = (bytes) => Buffer.from(bytes);

function shown(value) {
  if (Buffer.isBuffer(value)) return value.length < 100 ? value.toString("hex") : `${value.length} bytes`;
  return value.length < 1000 ? value : `${value.length} characters`;
}

function fields(metadata) {
  const pairs = [];
  for (const [key, values] of Object.entries(metadata ? metadata.toJSON() : {})) {
    // Which grpc-js shows wherever it stands.
    if (key === "content-type") continue;
    for (const value of values) pairs.push([key, shown(value)]);
  }
  return pairs;
}

// On a channel of its own, as a program makes it that says nothing of retries.
function call(wanted) {
  const client = new grpc.Client(wanted.address, grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
  const seen = { id: wanted.id, messages: [], head: [] };
  const options = { deadline: Date.now() + wanted.timeout * 1000 };
  const take = (error, answer) => answer && seen.messages.push(shown(answer));
  const metadata = new grpc.Metadata();
  const made = wanted.streaming
    ? client.makeServerStreamRequest(wanted.method, raw, raw, MESSAGE, metadata, options)
    : client.makeUnaryRequest(wanted.method, raw, raw, MESSAGE, metadata, options, take);
  made.on("metadata", (head) => (seen.head = fields(head)));
  if (wanted.streaming) made.on("data", (message) => seen.messages.push(shown(message)));
  made.on("error", () => {});
  made.on("status", (status) => {
    Object.assign(seen, { code: grpc.status[status.code] || String(status.code), words: status.details, trailers: fields(status.metadata) });
    // The answer's own callback comes first or later: it has its turn.
    setImmediate(() => {
      client.close();
      process.stdout.write(JSON.stringify(seen) + "\n");
    });
  });
}

console.log("ready");
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => call(JSON.parse(line)))
  .on("close", () => process.exit(0));
