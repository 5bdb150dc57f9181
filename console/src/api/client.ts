import type { components } from "./schema";

export type Schemas = components["schemas"];
export type Page<T> = { data: T[]; next: string | null };

/** An answer of the API that is not a success; `nextStep` is what to do about it. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly nextStep: string,
    readonly requestId: string | null,
  ) {
    super(message);
  }
}

async function failure(answer: Response): Promise<ApiError> {
  const requestId = answer.headers.get("x-request-id");
  try {
    const { error } = (await answer.json()) as { error: Partial<Schemas["ErrorDetail"]> };
    const details = (error.details ?? {}) as { fields?: string[] };
    const fields = details.fields?.length ? ` ${details.fields.join("; ")}` : "";
    return new ApiError(answer.status, error.code ?? "", `${error.message ?? ""}${fields}`, error.next_step ?? "", requestId);
  } catch {
    return new ApiError(answer.status, "unreadable", `${answer.status} ${answer.statusText}`, "yunhe status", requestId);
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

async function call<T>(method: string, path: string, options: { query?: Query; body?: unknown } = {}): Promise<T> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== null) search.set(name, String(value));
  }
  const headers: Record<string, string> = { "x-yunhe-console": "1" };
  if (options.body !== undefined) headers["content-type"] = "application/json";
  const suffix = search.size ? `?${search}` : "";
  let answer: Response;
  try {
    answer = await fetch(`/api/v1${path}${suffix}`, {
      method,
      headers,
      credentials: "same-origin",
      ...(options.body !== undefined ? { body: JSON.stringify(options.body) } : {}),
    });
  } catch {
    throw new ApiError(0, "unreachable", "The server does not answer.", "yunhe status", null);
  }
  if (!answer.ok) throw await failure(answer);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export const get = <T>(path: string, query?: Query) => call<T>("GET", path, query ? { query } : {});
export const post = <T>(path: string, body?: unknown) => call<T>("POST", path, { body: body ?? {} });
export const patch = <T>(path: string, body: unknown) => call<T>("PATCH", path, { body });
export const remove = <T>(path: string) => call<T>("DELETE", path);
