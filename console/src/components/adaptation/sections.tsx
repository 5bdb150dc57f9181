import { useState } from "react";
import type { Fidelity, Load, LogLine, View } from "../../api/adaptation";
import { useFormat, type Format } from "../../app/format";
import { useI18n, type MessageKey } from "../../app/i18n";
import { Button } from "../controls";
import { Empty, StateBadge } from "../feedback";
import { grid, Panel, Table } from "../layout";
import { asInterval, Forest, loadName, metricName, RatioText, reachOf, SpreadText } from "./figures";
import css from "./adaptation.module.css";

const PIECE = 15;
const SIDES: Record<string, "output_tokens_per_s" | "ttft_s" | "tpot_s"> = { output_tokens_per_s: "output_tokens_per_s", ttft_s: "ttft_s", tpot_s: "tpot_s" };

/** Baseline and choice under each load of the confirmation. */
export function BeforeAfter({ loads }: { loads: Load[] }) {
  const { t } = useI18n();
  const rows = loads.flatMap((load) =>
    load.gains.map((gain, index) => ({ load, gain, first: index === 0, side: SIDES[gain.metric] })),
  );
  const reach = reachOf(rows.map((row) => asInterval(row.gain)));
  return (
    <Panel title={t("ad.beforeafter")}>
      {rows.length === 0 ? <Empty text={t("ad.notconfirmed")} /> : (
        <>
          <p className={css.note}>{t("ad.beforelead")}</p>
          <Table
            caption={t("ad.beforeafter")}
            rows={rows}
            id={(row) => row.load.label + row.gain.metric}
            columns={[
              { head: t("ad.load"), cell: ({ load, first }) => (first ? <strong>{loadName(t, load)}</strong> : <span className="visually-hidden">{loadName(t, load)}</span>) },
              { head: t("ad.metric"), cell: ({ gain }) => <>{metricName(t, gain.metric)} <span aria-hidden="true">{gain.lower_is_better ? "↓" : "↑"}</span></> },
              { head: t("ad.baseline"), number: true, cell: ({ load, side, gain }) => <SpreadText spread={side ? load.baseline[side] : null} metric={gain.metric} /> },
              { head: t("ad.choice"), number: true, cell: ({ load, side, gain }) => <SpreadText spread={side ? load.choice[side] : null} metric={gain.metric} /> },
              {
                head: t("ad.ratio"),
                number: true,
                cell: ({ gain }) => {
                  const ratio = asInterval(gain);
                  return <span className={css.ratioCell}>{ratio ? <Forest ratio={ratio} reach={reach} good={gain.outcome === "better" ? true : gain.outcome === "worse" ? false : null} /> : null}<RatioText ratio={ratio} /></span>;
                },
              },
              { head: t("ad.rounds"), number: true, cell: ({ gain }) => gain.rounds },
              { head: t("ad.verdict"), cell: ({ gain }) => <StateBadge state={gain.outcome === "better" || gain.outcome === "worse" ? gain.outcome : "unmeasured"} label={t(`ad.outcome.${gain.outcome}` as MessageKey)} /> },
            ]}
          />
        </>
      )}
    </Panel>
  );
}

function measureText(f: Format, name: string, value: number): string {
  if (name === "top1_share") return f.share(value);
  return name === "greedy_agreement_tokens" ? value.toFixed(1) : value.toFixed(value < 0.1 ? 4 : 3);
}

function MeasureCell({ one, name }: { one: Fidelity; name: Fidelity["measures"][number]["name"] }) {
  const { t } = useI18n();
  const f = useFormat();
  const found = one.measures.find((measure) => measure.name === name);
  if (found === undefined) return <>–</>;
  return (
    <>
      <span className={found.kept === false ? css.bad : undefined}>{measureText(f, name, found.value)}{found.kept === false ? " ✕" : ""}</span>
      {found.low !== null && found.high !== null ? <div className={css.interval}>[{measureText(f, name, found.low)} – {measureText(f, name, found.high)}]</div> : null}
      {found.limit !== null ? <div className={css.interval}>{name === "kl_nats" || name === "perplexity_ratio" ? "≤" : "≥"} {measureText(f, name, found.limit)} <span className="visually-hidden">{t(found.kept ? "ad.kept" : "ad.broken")}</span></div> : null}
    </>
  );
}

/** The gate's evidence, one line for each way to compute. */
export function FidelityPanel({ view }: { view: View }) {
  const { t } = useI18n();
  const [all, setAll] = useState(false);
  const rows = [...view.fidelity].sort((a, b) => Number(b.has_chosen) - Number(a.has_chosen));
  const shown = all ? rows : rows.slice(0, 4);
  return (
    <Panel title={t("ad.fidelity")}>
      {rows.length === 0 ? <Empty text={t("ad.nofidelity")} /> : (
        <>
          <p className={css.note}>{t("ad.fidelitylead")}</p>
          <Table
            caption={t("ad.fidelity")}
            rows={shown}
            id={(one) => one.numerics}
            columns={[
              { head: t("ad.numerics"), wide: true, cell: (one) => <><code>{one.numerics}</code>{one.has_chosen ? <> <span className={grid.chip}>{t("ad.chosen")}</span></> : null}<div className={grid.muted}>{t("ad.candidates", { n: one.candidates.length })}</div></> },
              { head: t("ad.verdict"), wide: true, cell: (one) => <><StateBadge state={one.verdict} label={t(`ad.gate.${one.verdict}` as MessageKey)} />{one.verdict === "passed" ? null : <div className={grid.muted}>{one.reasons.join("; ")}</div>}{one.unmeasured.length ? <div className={grid.muted}>{t("ad.unmeasuredlist", { list: one.unmeasured.join(", ").replaceAll("_", " ") })}</div> : null}</> },
              { head: t("ad.kl_nats"), number: true, cell: (one) => <MeasureCell one={one} name="kl_nats" /> },
              { head: t("ad.top1_share"), number: true, cell: (one) => <MeasureCell one={one} name="top1_share" /> },
              { head: t("ad.perplexity_ratio"), number: true, cell: (one) => <MeasureCell one={one} name="perplexity_ratio" /> },
              { head: t("ad.greedy_agreement_tokens"), number: true, cell: (one) => <MeasureCell one={one} name="greedy_agreement_tokens" /> },
              { head: t("ad.task"), number: true, cell: (one) => (one.task ? <><span className={one.task.kept ? undefined : css.bad}>{one.task.candidate_correct} / {one.task.items}{one.task.kept ? "" : " ✕"}</span><div className={css.interval}>{t("ad.reference", { n: one.task.reference_correct })}</div></> : "–") },
            ]}
          />
          {rows.length > shown.length ? <Button small className={css.more} onClick={() => setAll(true)}>{t("ad.more", { n: rows.length - shown.length })}</Button> : null}
        </>
      )}
    </Panel>
  );
}

/** Who is out for good. */
export function Findings({ view }: { view: View }) {
  const { t } = useI18n();
  const [all, setAll] = useState(false);
  if (view.findings.length === 0) return null;
  const numbers = new Map(view.candidates.map((one) => [one.id, one]));
  const shown = all ? view.findings : view.findings.slice(0, 5);
  return (
    <Panel title={t("ad.findings")}>
      <p className={css.note}>{t("ad.findingslead")}</p>
      <Table
        caption={t("ad.findings")}
        rows={shown}
        id={(one) => one.candidate + one.cause}
        columns={[
          { head: t("ad.candidate"), cell: (one) => <>#{numbers.get(one.candidate)?.number ?? "?"}<div className={grid.muted}>{numbers.get(one.candidate)?.engine}</div></> },
          { head: t("ad.cause"), cell: (one) => <StateBadge state="refused" label={t(`ad.cause.${one.cause}` as MessageKey)} /> },
          { head: t("ad.settings"), wide: true, cell: (one) => <Chips settings={numbers.get(one.candidate)?.changed ?? {}} /> },
          { head: t("common.reason"), wide: true, cell: (one) => <span className={grid.muted}>{one.detail}</span> },
        ]}
      />
      {view.findings.length > shown.length ? <Button small className={css.more} onClick={() => setAll(true)}>{t("ad.more", { n: view.findings.length - shown.length })}</Button> : null}
    </Panel>
  );
}

export function Chips({ settings }: { settings: Record<string, unknown> }) {
  const entries = Object.entries(settings);
  if (entries.length === 0) return <>–</>;
  return <div className={grid.chips}>{entries.map(([name, value]) => <span key={name} className={grid.chip}>{name}={String(value)}</span>)}</div>;
}

/** All that was tried and measured: those that may be chosen first, fastest first. */
export function Candidates({ view }: { view: View }) {
  const { t } = useI18n();
  const f = useFormat();
  const [count, setCount] = useState(10);
  const order = (one: View["candidates"][number]) => (one.is_chosen ? 1e12 : one.finding || one.gate === "failed" ? -1e12 : 0) + (one.speeds?.output_tokens_per_s.value ?? -1);
  const rows = [...view.candidates].sort((a, b) => order(b) - order(a));
  if (rows.length === 0) return null;
  return (
    <Panel title={t("ad.candidatelist")}>
      <Table
        caption={t("ad.candidatelist")}
        rows={rows.slice(0, count)}
        id={(one) => one.id}
        columns={[
          { head: "#", number: true, cell: (one) => one.number },
          { head: t("rc.engine"), cell: (one) => <>{one.engine}{one.is_baseline || one.is_chosen || one.is_finalist || one.id === view.leading ? <div><span className={grid.chip}>{t(one.is_chosen ? "ad.chosen" : one.is_baseline ? "ad.baseline" : one.id === view.leading && view.chosen === null ? "ad.leading" : "ad.finalist")}</span></div> : null}</> },
          { head: t("ad.settings"), wide: true, cell: (one) => <Chips settings={one.changed} /> },
          { head: t("ad.metric.output_tokens_per_s"), number: true, cell: (one) => <SpreadText spread={one.speeds?.output_tokens_per_s ?? null} metric="output_tokens_per_s" /> },
          { head: "TPOT", number: true, cell: (one) => <SpreadText spread={one.speeds?.tpot_p50_s ?? null} metric="tpot_s" /> },
          { head: t("ad.gain"), number: true, cell: (one) => <RatioText ratio={asInterval(one.gain)} /> },
          { head: t("ad.windows"), number: true, cell: (one) => <>{one.windows_accepted}{one.windows_rejected ? <div className={css.interval}>{t("ad.rejected")} {one.windows_rejected}</div> : null}</> },
          { head: t("ad.memory"), number: true, cell: (one) => f.bytes(one.speeds?.memory_peak_bytes) },
          { head: t("ad.fidelity"), cell: (one) => (one.finding ? <StateBadge state="refused" label={t(`ad.cause.${one.finding.cause}` as MessageKey)} /> : <StateBadge state={one.gate} label={t(`ad.gate.${one.gate}` as MessageKey)} />) },
        ]}
      />
      {rows.length > count ? <Button small className={css.more} onClick={() => setCount(rows.length)}>{t("ad.more", { n: rows.length - count })}</Button> : null}
    </Panel>
  );
}

type Filter = "all" | "rejected" | "out" | "confirmation";
const FILTERS: Record<Filter, (line: LogLine) => boolean> = {
  all: () => true,
  rejected: (line) => line.accepted === false && (line.kind === "window" || line.kind === "confirmation"),
  out: (line) => line.kind === "crash" || line.outcome === "failed",
  confirmation: (line) => line.kind === "confirmation",
};
const WORDS: Record<string, MessageKey> = { accepted: "ad.accepted", rejected: "ad.rejected", passed: "ad.gate.passed", failed: "ad.gate.failed", insufficient: "ad.gate.insufficient" };

function Outcome({ line }: { line: LogLine }) {
  const { t } = useI18n();
  const word = WORDS[line.outcome];
  const state = line.kind === "crash" ? "failed" : line.outcome === "accepted" ? "ok" : line.outcome;
  const label = line.kind === "crash" ? t(`ad.cause.${line.outcome}` as MessageKey) : word ? (line.kind === "ended" ? undefined : t(word)) : undefined;
  return (
    <>
      {line.outcome ? <StateBadge state={state} {...(label ? { label } : {})} /> : null}
      {line.reasons.length ? <div className={grid.muted}>{line.reasons.join("; ")}</div> : null}
    </>
  );
}

/** The journal, newest first; what does not count stays visible, with its reason. */
export function TrialLog({ view }: { view: View }) {
  const { t } = useI18n();
  const f = useFormat();
  const [filter, setFilter] = useState<Filter>("all");
  const [count, setCount] = useState(PIECE);
  const rows = view.log.map((line, index) => ({ line, index })).filter(({ line }) => FILTERS[filter](line)).reverse();
  const counts = (name: Filter) => view.log.filter(FILTERS[name]).length;
  return (
    <Panel
      title={t("ad.log")}
      actions={
        <select className={grid.select} aria-label={t("ad.log")} value={filter} onChange={(event) => { setFilter(event.target.value as Filter); setCount(PIECE); }}>
          {(Object.keys(FILTERS) as Filter[]).map((name) => <option key={name} value={name}>{t(`ad.log.${name}`)} ({counts(name)})</option>)}
        </select>
      }
    >
      {rows.length === 0 ? <Empty text={t("ad.log.none")} /> : (
        <Table
          caption={t("ad.log")}
          rows={rows.slice(0, count)}
          id={({ index }) => String(index)}
          columns={[
            { head: t("ad.at"), cell: ({ line }) => <time dateTime={new Date(line.at_s * 1000).toISOString()} title={f.when(new Date(line.at_s * 1000).toISOString())}>+{f.clock(line.elapsed_s)}</time> },
            { head: t("ad.kind"), cell: ({ line }) => <>{t(`ad.kind.${line.kind}`)}{line.load ? <div className={`${grid.muted} ${grid.line}`}>{line.load}</div> : null}</> },
            { head: "#", number: true, cell: ({ line }) => line.number ?? "" },
            { head: t("ad.outcome"), wide: true, cell: ({ line }) => <Outcome line={line} /> },
            { head: t("ad.metric.output_tokens_per_s"), number: true, cell: ({ line }) => (line.output_tokens_per_s === null ? "" : f.rate(line.output_tokens_per_s)) },
            { head: "TTFT", number: true, cell: ({ line }) => (line.ttft_s === null ? "" : f.ms(line.ttft_s * 1000)) },
            { head: "TPOT", number: true, cell: ({ line }) => (line.tpot_s === null ? "" : f.ms(line.tpot_s * 1000)) },
            { head: t("ad.foreign"), number: true, cell: ({ line }) => (line.foreign_cpu_share === null ? "" : <span className={line.accepted === false ? css.bad : undefined}>{f.share(line.foreign_cpu_share)}</span>) },
          ]}
        />
      )}
      {rows.length > count ? <Button small className={css.more} onClick={() => setCount(count + 10 * PIECE)}>{t("ad.more", { n: Math.min(10 * PIECE, rows.length - count) })}</Button> : null}
    </Panel>
  );
}
