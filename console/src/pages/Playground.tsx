import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { useSearchParams } from "wouter";
import type { Progress, Turn } from "../api/chat";
import { get, type Page, type Schemas } from "../api/client";
import { chatInProject } from "../api/playgroundChat";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { useSession } from "../app/session";
import { Button, CopyButton, Field } from "../components/controls";
import { Empty, ErrorBox, Skeleton } from "../components/feedback";
import { grid, PageHead, Panel } from "../components/layout";
import css from "./Playground.module.css";

type Shown = { role: "user" | "assistant"; content: string; progress?: Progress; stopped?: boolean };

function useChatModels() {
  return useQuery({
    queryKey: ["models"],
    queryFn: () => get<Page<Schemas["Model"]>>("/models", { limit: 500 }),
    select: (page) => page.data.filter((model) => model.capabilities.includes("chat") && model.deployments.length > 0).map((model) => model.name),
  });
}

export function Playground() {
  const { t } = useI18n();
  const models = useChatModels();
  const [search, setSearch] = useSearchParams();
  const names = models.data ?? [];
  const wanted = search.get("model");
  const model = wanted !== null && names.includes(wanted) ? wanted : (names[0] ?? "");
  if (models.error) return <ErrorBox error={models.error} onRetry={() => void models.refetch()} />;
  if (!models.data) return <Skeleton lines={6} />;
  return (
    <div className={grid.stack}>
      <PageHead title={t("play.title")}>
        <select className={grid.select} aria-label={t("common.model")} value={model} onChange={(event) => setSearch({ model: event.target.value })}>
          {names.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </PageHead>
      {model ? <Conversation key={model} model={model} /> : <Panel><Empty text={t("play.nomodel")} /></Panel>}
    </div>
  );
}

function useConversation(model: string) {
  const { project } = useSession();
  const [shown, setShown] = useState<Shown[]>([]);
  const [error, setError] = useState<unknown>(null);
  const [running, setRunning] = useState<AbortController | null>(null);
  useEffect(() => () => running?.abort(), [running]);
  const send = async (text: string, system: string, temperature: number, maxTokens: number) => {
    const before: Shown[] = [...shown, { role: "user", content: text }];
    const abort = new AbortController();
    setShown([...before, { role: "assistant", content: "" }]);
    setError(null);
    setRunning(abort);
    const replaceLast = (last: Shown) => setShown([...before, last]);
    let latest: Progress | undefined;
    try {
      const turns: Turn[] = before.map(({ role, content }) => ({ role, content }));
      const messages: Turn[] = system ? [{ role: "system", content: system }, ...turns] : turns;
      await chatInProject(project, { model, messages, temperature, max_tokens: maxTokens }, abort.signal, (progress) => {
        latest = progress;
        replaceLast({ role: "assistant", content: progress.text, progress });
      });
    } catch (failure) {
      if (abort.signal.aborted) replaceLast({ role: "assistant", content: latest?.text ?? "", stopped: true, ...(latest ? { progress: latest } : {}) });
      else {
        setError(failure);
        if (!latest) setShown(before);
      }
    } finally {
      setRunning(null);
    }
  };
  return { shown, error, running, send, clear: () => setShown([]) };
}

function curl(model: string, text: string): string {
  const body = JSON.stringify({ model, stream: true, messages: [{ role: "user", content: text || "Say hello." }] });
  return `curl ${location.origin}/v1/chat/completions -H "Authorization: Bearer $YUNHE_API_KEY" -H "Content-Type: application/json" -d '${body.replaceAll("'", "'\\''")}'`;
}

function Conversation({ model }: { model: string }) {
  const { t } = useI18n();
  const [system, setSystem] = useState("");
  const [temperature, setTemperature] = useState(0.7);
  const [maxTokens, setMaxTokens] = useState(256);
  const [text, setText] = useState("");
  const { shown, error, running, send, clear } = useConversation(model);
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    // Not returned: browsers differ in what scrolling returns, and a returned value is taken for a clean-up.
    end.current?.scrollIntoView({ block: "nearest" });
  }, [shown]);
  const submit = () => {
    const message = text.trim();
    if (!message || running) return;
    setText("");
    void send(message, system.trim(), temperature, maxTokens);
  };
  return (
    <div className={css.columns}>
      <section className={css.chat} aria-label={t("play.title")}>
        <div className={css.turns} aria-live="polite" aria-busy={running !== null} tabIndex={0} role="log">
          {shown.length === 0 ? <Empty text={t("play.empty")} /> : null}
          {shown.map((turn, index) => (
            <TurnView key={index} turn={turn} model={model} waiting={running !== null && index === shown.length - 1} />
          ))}
          {error ? <ErrorBox error={error} /> : null}
          <div ref={end} />
        </div>
        <form
          className={css.composer}
          onSubmit={(event) => {
            event.preventDefault();
            submit();
          }}
        >
          <textarea
            aria-label={t("play.message")}
            placeholder={t("play.placeholder")}
            rows={2}
            value={text}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
                event.preventDefault();
                submit();
              }
            }}
          />
          {running ? (
            <Button onClick={() => running.abort()}>{t("play.stop")}</Button>
          ) : (
            <Button kind="primary" type="submit" disabled={!text.trim()}>
              {t("play.send")}
            </Button>
          )}
        </form>
      </section>
      <Panel>
        <div className={grid.stack}>
          <Field label={t("play.system")}>{(id) => <textarea id={id} rows={4} value={system} onChange={(e) => setSystem(e.target.value)} />}</Field>
          <Field label={`${t("play.temperature")} · ${temperature.toFixed(1)}`}>
            {(id) => <input id={id} type="range" min={0} max={2} step={0.1} value={temperature} onChange={(e) => setTemperature(Number(e.target.value))} />}
          </Field>
          <Field label={t("play.maxtokens")}>
            {(id) => <input id={id} type="number" min={1} max={8192} value={maxTokens} onChange={(e) => setMaxTokens(Math.max(1, Number(e.target.value) || 1))} />}
          </Field>
          <div className={grid.row}>
            <CopyButton text={curl(model, text)} label={t("play.copycurl")} />
            <CopyButton text={`yunhe chat ${model}`} label={t("common.copycli")} />
            <Button small disabled={running !== null || shown.length === 0} onClick={clear}>
              {t("play.clear")}
            </Button>
          </div>
          <p className={grid.muted}>{t("play.key")}</p>
        </div>
      </Panel>
    </div>
  );
}

function TurnView({ turn, model, waiting }: { turn: Shown; model: string; waiting: boolean }) {
  const { t } = useI18n();
  const f = useFormat();
  const progress = turn.progress;
  return (
    <article className={turn.role === "user" ? css.mine : css.theirs}>
      <header>{turn.role === "user" ? t("play.you") : model}</header>
      <p className={css.text}>
        {turn.content}
        {waiting ? <span className={css.caret} aria-hidden="true" /> : null}
      </p>
      {progress || turn.stopped ? (
        <footer>
          {progress ? (
            <>
              <span data-testid="ttft">{t("play.ttft")} {f.ms(progress.ttftMs)}</span>
              <span data-testid="speed">{f.rate(progress.tokensPerS)} {t("play.speed")}</span>
              <span>{f.whole(progress.tokens)} {t("play.tokens")}</span>
              {progress.servedBy ? <span>{t("play.servedby")} {progress.servedBy}</span> : null}
            </>
          ) : null}
          {turn.stopped ? <span>{t("play.stopped")}</span> : null}
        </footer>
      ) : null}
    </article>
  );
}
