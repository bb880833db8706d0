// @google/genai against the simulator: one JSON line for each check.
import { GoogleGenAI } from "@google/genai";

const model = "gemini-3.5-flash";
const ai = new GoogleGenAI({
  apiKey: "not-a-real-key",
  httpOptions: { baseUrl: process.env.SIMULATOR_URL },
});
const tell = (check, seen) => console.log(JSON.stringify({ check, ...seen }));

const answer = await ai.models.generateContent({ model, contents: "Write a haiku about rivers" });
tell("generate", {
  lines: answer.text.split("\n").length,
  finish: answer.candidates[0].finishReason,
  total: answer.usageMetadata.totalTokenCount,
});

let text = "";
let chunks = 0;
let finish = "";
for await (const chunk of await ai.models.generateContentStream({
  model,
  contents: "Tell me of bees",
})) {
  text += chunk.text ?? "";
  chunks += 1;
  finish = chunk.candidates[0].finishReason ?? finish;
}
tell("stream", { chunks, text, finish });

const counted = await ai.models.countTokens({ model, contents: "One two" });
tell("count", { tokens: counted.totalTokens });

const tools = [
  {
    functionDeclarations: [
      {
        name: "get_weather",
        parametersJsonSchema: {
          type: "object",
          properties: { city: { type: "string" } },
          required: ["city"],
        },
      },
    ],
  },
];
const chat = ai.chats.create({ model, config: { tools } });
const first = await chat.sendMessage({ message: "What is the weather in Lisbon?" });
const call = first.functionCalls[0];
const second = await chat.sendMessage({
  message: { functionResponse: { id: call.id, name: call.name, response: { sky: "clear" } } },
});
tell("chat", { name: call.name, args: call.args, text: second.text });

const blob = new Blob(["The quick brown fox"], { type: "text/plain" });
const file = await ai.files.upload({ file: blob, config: { displayName: "note" } });
const used = await ai.models.generateContent({
  model,
  contents: [{ text: "Sum up" }, { fileData: { fileUri: file.uri, mimeType: file.mimeType } }],
});
await ai.files.delete({ name: file.name });
tell("upload", { size: file.sizeBytes, state: file.state, answered: Boolean(used.text) });

const names = [];
for await (const item of await ai.models.list({ config: { pageSize: 5 } })) names.push(item.name);
tell("models", { number: names.length, distinct: new Set(names).size });

const made = await ai.models.embedContent({
  model: "gemini-embedding-001",
  contents: ["one", "two", "three"],
  config: { outputDimensionality: 128 },
});
tell("embed", { sizes: made.embeddings.map((item) => item.values.length) });

const seen = [];
for (const [name, contents] of [
  ["no-such-model", "Hi"],
  [model, "[[fault: invalid_argument]]"],
]) {
  try {
    await ai.models.generateContent({ model: name, contents });
  } catch (error) {
    seen.push(error.status);
  }
}
tell("refusals", { seen });
