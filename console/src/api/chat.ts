import { ApiError } from "./client";

export type Turn = { role: "system" | "user" | "assistant"; content: string };
export type Ask = { model: string; messages: Turn[]; temperature: number; max_tokens: number };
export type Progress = { text: string; tokens: number; ttftMs: number | null; tokensPerS: number | null; servedBy: string | null };

type Chunk = {
  error?: { message?: string; code?: string };
  choices?: { delta?: { content?: string | null } }[];
  usage?: { completion_tokens?: number } | null;
};

/** Splits a byte stream into the data of its server-sent events, whatever ends its lines (a proxy may have CR LF). */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    // A CR at the very end may be half of a line end: it waits for the next piece.
    rest = (rest + value).replace(/\r\n/g, "\n");
    const parts = rest.split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) {
      for (const line of part.split("\n")) if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  }
}

async function refusal(answer: Response): Promise<ApiError> {
  const requestId = answer.headers.get("x-request-id");
  try {
    const { error } = (await answer.json()) as { error: { message: string; code: string | null } };
    const retry = answer.headers.get("retry-after");
    return new ApiError(answer.status, error.code ?? "", error.message, retry ? `Retry-After: ${retry} s` : "", requestId);
  } catch {
    return new ApiError(answer.status, "", `${answer.status} ${answer.statusText}`, "yunhe status", requestId);
  }
}

/** Streams one answer; `report` sees it grow. Times are of this browser. Throws ApiError; an abort ends it quietly. */
export async function streamChat(key: string, ask: Ask, signal: AbortSignal, report: (p: Progress) => void): Promise<void> {
  const begin = performance.now();
  const answer = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ ...ask, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!answer.ok || answer.body === null) throw await refusal(answer);
  const progress: Progress = { text: "", tokens: 0, ttftMs: null, tokensPerS: null, servedBy: answer.headers.get("x-yunhe-served-by") };
  for await (const data of events(answer.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new ApiError(502, chunk.error.code ?? "", chunk.error.message ?? "", "", answer.headers.get("x-request-id"));
    const content = chunk.choices?.[0]?.delta?.content ?? "";
    const now = performance.now();
    if (content) {
      progress.ttftMs ??= now - begin;
      progress.text += content;
      progress.tokens += 1;
    }
    if (chunk.usage?.completion_tokens) progress.tokens = chunk.usage.completion_tokens;
    const decodeS = progress.ttftMs === null ? 0 : (now - begin - progress.ttftMs) / 1000;
    if (progress.tokens > 1 && decodeS > 0) progress.tokensPerS = (progress.tokens - 1) / decodeS;
    report({ ...progress });
  }
  throw new ApiError(502, "stream_interrupted", "The stream ended before the answer was complete.", "", answer.headers.get("x-request-id"));
}
