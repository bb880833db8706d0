// A Gemini mock that others wrote, with one answer a prompt, some of them faulty.
import { LLMock } from "@copilotkit/aimock";

const text = "The river bends twice before it finds the sea, and nobody minds.";
const mock = new LLMock({ port: 0, host: "127.0.0.1", chunkSize: 8 });
mock.onMessage("plain", { content: text });
mock.onMessage("weather", {
  toolCalls: [{ name: "get_weather", arguments: '{"city":"Paris"}' }],
});
mock.onMessage("refused", {
  error: { message: "The model is overloaded.", type: "UNAVAILABLE" },
  status: 503,
});
mock.onMessage("drop", { content: text }, { chaos: { dropRate: 1 } });
mock.onMessage("malformed", { content: text }, { chaos: { malformedRate: 1 } });
mock.onMessage("disconnect", { content: text }, { chaos: { disconnectRate: 1 } });
mock.onMessage("limited", { content: text }, { chaos: { rateLimitRate: 1 } });
mock.onMessage("slow", { content: text }, { chaos: { latencyMs: 400 } });
mock.onMessage("cut", { content: text }, { truncateAfterChunks: 3 });
mock.onMessage("gone", { content: text }, { latency: 50, disconnectAfterMs: 200 });
await mock.start();
console.log(`ready http=${new URL(mock.url).host}`);
process.on("SIGTERM", async () => {
  await mock.stop();
  process.exit(0);
});
