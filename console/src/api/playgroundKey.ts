import { post, remove, type Schemas } from "./client";

const STORED = "yunhe.playground-key";
const LIFE_S = 8 * 3600;
type Stored = { id: string; secret: string; project: string; expiresAt: number };

function stored(): Stored | null {
  try {
    const found = JSON.parse(sessionStorage.getItem(STORED) ?? "null") as Stored | null;
    return found && found.expiresAt > Date.now() + 60_000 ? found : null;
  } catch {
    return null;
  }
}

/** A short-lived inference key of this tab for the project; kept in this tab's session storage only. */
export async function playgroundKey(project: string): Promise<{ secret: string; fresh: boolean }> {
  const known = stored();
  if (known?.project === project) return { secret: known.secret, fresh: false };
  await forgetPlaygroundKey();
  const made = await post<Schemas["KeyWithSecret"]>("/keys", {
    name: "playground",
    project,
    scopes: ["inference"],
    expires_in_s: LIFE_S,
  });
  const value: Stored = { id: made.id, secret: made.secret, project, expiresAt: Date.now() + LIFE_S * 1000 };
  sessionStorage.setItem(STORED, JSON.stringify(value));
  return { secret: made.secret, fresh: true };
}

/** Revokes it; a key that is gone already is no error. */
export async function forgetPlaygroundKey(): Promise<void> {
  const known = stored();
  sessionStorage.removeItem(STORED);
  if (known) await remove(`/keys/${known.id}`).catch(() => undefined);
}
