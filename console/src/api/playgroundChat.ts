import { streamChat, type Ask, type Progress } from "./chat";
import { ApiError } from "./client";
import { forgetPlaygroundKey, playgroundKey } from "./playgroundKey";

/** A gateway learns of a new key within two seconds; until then it answers 401. */
const WAITS_MS = [200, 400, 800, 1600, 3000];

/** Streams one answer with this tab's key for the project; a key that was revoked meanwhile is replaced. */
export async function chatInProject(project: string, ask: Ask, signal: AbortSignal, report: (p: Progress) => void): Promise<void> {
  let { secret, fresh } = await playgroundKey(project);
  for (const wait of [...WAITS_MS, null]) {
    try {
      await streamChat(secret, ask, signal, report);
      return;
    } catch (error) {
      if (wait === null || !(error instanceof ApiError) || error.status !== 401) throw error;
    }
    if (!fresh) {
      await forgetPlaygroundKey();
      ({ secret, fresh } = await playgroundKey(project));
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    signal.throwIfAborted();
  }
}
