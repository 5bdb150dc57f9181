import { Component, type ReactNode } from "react";
import { ApiError } from "../api/client";
import { stateWord, useI18n } from "../app/i18n";
import css from "./feedback.module.css";

const GOOD = new Set(["ready", "ok", "online", "healthy", "active", "succeeded", "finished", "passed", "default", "applies", "believed", "better"]);
const BAD = new Set(["down", "failed", "faulty", "missing", "unhealthy", "revoked", "error", "refused", "rejected", "never", "worse"]);
const QUIET = new Set(["stopped", "never_joined", "unknown", "expired", "stopping", "draining", "cancelled", "rolled_back", "unmeasured"]);

/** A state as shape and word; colour only repeats what the two say. */
export function StateBadge({ state, label }: { state: string; label?: string }) {
  const { t } = useI18n();
  const kind = GOOD.has(state) ? "good" : BAD.has(state) ? "bad" : QUIET.has(state) ? "quiet" : "waiting";
  const shape = { good: "●", bad: "▲", quiet: "○", waiting: "◐" }[kind];
  return (
    <span className={`${css.badge} ${css[kind]}`}>
      <span aria-hidden="true">{shape}</span> {label ?? stateWord(t, state)}
    </span>
  );
}

/** A sentence in which what stands between backticks is shown as code. */
export function Prose({ text }: { text: string }) {
  return <>{text.split("`").map((part, index) => (index % 2 ? <code key={index}>{part}</code> : part))}</>;
}

export function ErrorBox({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const { t } = useI18n();
  const known = error instanceof ApiError ? error : null;
  return (
    <div className={css.error} role="alert">
      <strong>{t("error.title")}</strong>
      <p><Prose text={known?.message || (error instanceof Error ? error.message : String(error))} /></p>
      {known?.nextStep ? <p className={css.next}>→ <Prose text={known.nextStep} /></p> : null}
      {known?.requestId ? <p className={css.request}>{known.requestId}</p> : null}
      {onRetry ? (
        <button type="button" className={css.retry} onClick={onRetry}>
          {t("common.retry")}
        </button>
      ) : null}
    </div>
  );
}

export function Empty({ text }: { text: string }) {
  const [before, command] = text.includes("yunhe ") ? [text.slice(0, text.indexOf("yunhe ")), text.slice(text.indexOf("yunhe "))] : [text, ""];
  return (
    <p className={css.empty}>
      {before}
      {command ? <code>{command}</code> : null}
    </p>
  );
}

export function Skeleton({ lines = 3, page = false }: { lines?: number; page?: boolean }) {
  const { t } = useI18n();
  return (
    <div className={page ? css.skeletonPage : undefined} role="status" aria-label={t("common.loading")}>
      {Array.from({ length: lines }, (_, index) => (
        <div key={index} className={css.skeleton} />
      ))}
    </div>
  );
}

/** Shows what a failing page threw, and lets the rest of the console live. */
export class ErrorBoundary extends Component<{ children: ReactNode; title: string }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <div className={css.failedPage}>
        <h1>{this.props.title}</h1>
        <ErrorBox error={this.state.error} onRetry={() => this.setState({ error: null })} />
      </div>
    );
  }
}
