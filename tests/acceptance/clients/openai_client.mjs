// The official openai client for Node against a running instance. Reads one JSON document from stdin:
// {base_url, api_key, model, missing_model, down_model, read_only_key, limited_key, large_bytes}; writes what it saw as one JSON document.
import OpenAI from "openai";

const text = await new Response(process.stdin).text();
const setup = JSON.parse(text);
const client = (key) => new OpenAI({ baseURL: setup.base_url, apiKey: key, maxRetries: 0, timeout: 120_000 });
const openai = client(setup.api_key);
const messages = [{ role: "user", content: "The capital of France is" }];
const chat = (extra = {}, by = openai) =>
  by.chat.completions.create({ model: setup.model, messages, max_tokens: 8, temperature: 0, ...extra });

const seen = { errors: {} };

seen.models = (await openai.models.list()).data.map((model) => model.id);
seen.retrieved = await openai.models.retrieve(setup.model);
seen.chat = await chat();
seen.completion = await openai.completions.create({ model: setup.model, prompt: "The capital of France is", max_tokens: 8, temperature: 0 });

const stream = await chat({ stream: true, stream_options: { include_usage: true } });
seen.stream = { text: "", chunks: 0, usage: null, finish: null };
for await (const chunk of stream) {
  seen.stream.chunks += 1;
  seen.stream.text += chunk.choices[0]?.delta?.content ?? "";
  seen.stream.finish = chunk.choices[0]?.finish_reason ?? seen.stream.finish;
  seen.stream.usage = chunk.usage ?? seen.stream.usage;
}

async function fails(name, call) {
  try {
    await call();
    seen.errors[name] = null;
  } catch (error) {
    seen.errors[name] = {
      type: error.constructor.name,
      is_api_error: error instanceof OpenAI.APIError,
      status: error.status ?? null,
      code: error.code ?? null,
      message: error.message,
      retry_after: error.headers?.get("retry-after") ?? null,
      request_id: error.headers?.get("x-request-id") ?? null,
    };
  }
}

await fails("bad_key", () => chat({}, client("yh_aaaaaaaaaaaa_" + "a".repeat(43))));
await fails("read_only_key", () => chat({}, client(setup.read_only_key)));
await fails("missing_model", () => chat({ model: setup.missing_model }));
await fails("missing_model_retrieved", () => openai.models.retrieve(setup.missing_model));
await fails("malformed", () => chat({ messages: "not a list" }));
await fails("too_large", () => chat({ messages: [{ role: "user", content: "x".repeat(setup.large_bytes) }] }));
await fails("embeddings", () => openai.embeddings.create({ model: setup.model, input: "hello" }));
await fails("model_down", () => chat({ model: setup.down_model }));
await fails("limited", async () => {
  for (let n = 0; n < 3; n += 1) await chat({ max_tokens: 1 }, client(setup.limited_key));
});

process.stdout.write(JSON.stringify(seen) + "\n");
