// A Gemini mock that others wrote, which fails at random and otherwise says what it was asked.
// ARGUMENTS: SEED PORT (0 takes a free one)
let state = Number(process.argv[2]);
// The mock draws from Math.random: this makes its draws repeatable.
Math.random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const { LLMock } = await import("@copilotkit/aimock");

const port = Number(process.argv[3]);
const mock = new LLMock({ port, host: "127.0.0.1", chunkSize: 16 });
const echo = (request) => ({ content: request.messages.at(-1).content });
const chaos = { dropRate: 0.06, malformedRate: 0.04, disconnectRate: 0.04, rateLimitRate: 0.02 };
mock.onMessage(/^Cut/, echo, { truncateAfterChunks: 3, latency: 5 });
mock.onMessage(/^Gone/, echo, { disconnectAfterMs: 60, latency: 20 });
mock.onMessage(/^Late/, echo, { chaos: { latencyMs: 600 } });
mock.onMessage(/^Answer/, echo, { chaos, latency: 3 });
await mock.start();
console.log(`ready http=${new URL(mock.url).host}`);
process.on("SIGTERM", async () => {
  await mock.stop();
  process.exit(0);
});
