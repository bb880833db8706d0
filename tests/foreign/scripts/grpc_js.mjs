// Calls RPCs with @grpc/grpc-js and its default limits, and reports how each ended: requests are
// lines of JSON on standard input, results lines of JSON on standard output. Messages are bytes in
// base64, so that nothing here depends on the contract.
import { createInterface } from "node:readline";
import * as grpc from "@grpc/grpc-js";

const clients = new Map();
const same = (bytes) => bytes;

function clientOf(target) {
  if (!clients.has(target)) {
    clients.set(target, new grpc.Client(target, grpc.credentials.createInsecure()));
  }
  return clients.get(target);
}

function entriesOf(metadata) {
  return Object.entries(metadata.getMap()).map(([key, value]) =>
    Buffer.isBuffer(value) ? [key, value.toString("base64"), true] : [key, value, false],
  );
}

function ask({ id, target, path, request, seconds, stream, key }) {
  const options = seconds === null ? {} : { deadline: Date.now() + seconds * 1000 };
  const bytes = Buffer.from(request, "base64");
  const metadata = new grpc.Metadata();
  if (key) {
    metadata.set("x-api-key", key);
  }
  let initial = [];
  const end = (status) => {
    const { code, details, metadata } = status;
    const ended = { id, code, details, initial, trailers: entriesOf(metadata) };
    process.stdout.write(`${JSON.stringify(ended)}\n`);
  };
  const client = clientOf(target);
  const call = stream
    ? client.makeServerStreamRequest(path, same, same, bytes, metadata, options)
    : client.makeUnaryRequest(path, same, same, bytes, metadata, options, () => {});
  call.on("metadata", (answered) => {
    initial = entriesOf(answered);
  });
  call.on("error", () => {}); // the status has it all
  if (stream) {
    call.on("data", () => {});
  }
  call.on("status", end);
}

process.stdout.write("ready grpc-js\n");
createInterface({ input: process.stdin }).on("line", (line) => ask(JSON.parse(line)));
