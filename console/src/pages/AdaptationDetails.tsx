import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { hasEnded, isOperator, LIVE_MS, readAdaptation, readView, type View } from "../api/adaptation";
import { post, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n, type MessageKey } from "../app/i18n";
import { useSession } from "../app/session";
import { asInterval, Budget, loadName, metricName } from "../components/adaptation/figures";
import { Frontier } from "../components/adaptation/Frontier";
import { BeforeAfter, Candidates, FidelityPanel, Findings, TrialLog } from "../components/adaptation/sections";
import { Button, Confirm, CopyButton } from "../components/controls";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, Panel, Stat, Table } from "../components/layout";
import css from "../components/adaptation/adaptation.module.css";

type Adaptation = Schemas["Adaptation"];
const PHASES = ["waiting", "starting", "searching", "confirming", "finished"] as const;

/** One adaptation, live while it goes on. */
export function AdaptationDetails({ id }: { id: string }) {
  const one = useQuery({ queryKey: ["adaptation", id], queryFn: () => readAdaptation(id), refetchInterval: (query) => (hasEnded(query.state.data?.state) ? false : LIVE_MS) });
  const view = useQuery({ queryKey: ["adaptation-view", id], queryFn: () => readView(id), refetchInterval: (query) => (hasEnded(query.state.data?.phase) ? false : LIVE_MS) });
  const error = one.error ?? view.error;
  if (!one.data || !view.data) return error ? <ErrorBox error={error} onRetry={() => { void one.refetch(); void view.refetch(); }} /> : <Skeleton lines={8} />;
  return <Details one={one.data} view={view.data} error={error} />;
}

function Details({ one, view, error }: { one: Adaptation; view: View; error: unknown }) {
  const { t } = useI18n();
  return (
    <div className={grid.stack}>
      <Head one={one} view={view} />
      {error ? <ErrorBox error={error} /> : null}
      {view.simulated ? <p className={css.banner}>{t("ad.simulated")}</p> : null}
      <Tiles view={view} />
      <Progress view={view} />
      <div className={css.lead}>
        <Panel title={t("ad.frontier")}>
          {view.frontier.length === 0 ? <Empty text={t("ad.nothingmeasured")} /> : <><p className={css.note}>{t("ad.frontierlead")}</p><Frontier view={view} /></>}
        </Panel>
        <div className={css.column}>
          <Changed view={view} />
          <Asked one={one} view={view} />
        </div>
      </div>
      <BeforeAfter loads={view.loads} />
      <FidelityPanel view={view} />
      <Candidates view={view} />
      <Findings view={view} />
      <TrialLog view={view} />
    </div>
  );
}

function Head({ one, view }: { one: Adaptation; view: View }) {
  const { t, language } = useI18n();
  const { me } = useSession();
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const cancel = useMutation({
    mutationFn: () => post(`/adaptations/${one.id}/cancel`),
    onSettled: () => {
      setAsking(false);
      void client.invalidateQueries({ queryKey: ["adaptation", one.id] });
      void client.invalidateQueries({ queryKey: ["adaptation-view", one.id] });
    },
  });
  const open = !hasEnded(one.state);
  return (
    <>
      <div className={grid.head}>
        <div className={css.titles}>
          <Link href="/adaptations" className={css.back}>← {t("ad.title")}</Link>
          <div className={grid.row}>
            <h1>{one.model}</h1>
            <StateBadge state={one.state} />
            {one.cancel_asked && open ? <StateBadge state="stopping" label={t("ad.cancelling")} /> : null}
          </div>
          <span className={grid.muted}>{view.chips[0]?.name ?? one.chip} · {one.centre}</span>
        </div>
        <div className={grid.headActions}>
          <CopyButton small={false} text={`yunhe adaptation show ${one.id}`} label={t("common.copycli")} />
          <a className={css.buttonLink} href={`/api/v1/adaptations/${one.id}/report?language=${language}`} target="_blank" rel="noreferrer">{t("ad.report")} ↗</a>
          {one.recipe_id ? <Link className={`${css.buttonLink} ${css.strong}`} href={`/recipes/${one.recipe_id}`}>{t("ad.openrecipe")}</Link> : null}
          {open && isOperator(me) ? <Button disabled={one.cancel_asked} onClick={() => setAsking(true)}>{t("ad.cancel")}</Button> : null}
        </div>
      </div>
      {cancel.error ? <ErrorBox error={cancel.error} /> : null}
      <Confirm question={t("ad.cancelask")} action={t("ad.cancel")} open={asking} busy={cancel.isPending} onClose={() => setAsking(false)} onConfirm={() => cancel.mutate()} />
    </>
  );
}

function Tiles({ view }: { view: View }) {
  const { t } = useI18n();
  const f = useFormat();
  const load = view.loads[0];
  const leader = view.candidates.find((one) => one.id === (view.chosen ?? view.confirmed ?? view.leading));
  const confirmed = load?.gains.find((one) => one.metric === view.objective) ?? null;
  const gain = confirmed ?? (leader?.is_baseline ? null : (leader?.gain ?? null));
  const ratio = asInterval(gain);
  const proof = view.fidelity.find((one) => leader !== undefined && one.candidates.includes(leader.id));
  const kl = proof?.measures.find((one) => one.name === "kl_nats");
  const [before, after] = [load?.baseline.output_tokens_per_s?.value ?? view.candidates.find((one) => one.is_baseline)?.speeds?.output_tokens_per_s.value, load?.choice.output_tokens_per_s?.value ?? (leader?.is_baseline ? undefined : leader?.speeds?.output_tokens_per_s.value)];
  const ends = ratio?.low != null && ratio.high != null ? `95 % ${f.times(ratio.low)} – ${f.times(ratio.high)}` : ratio ? `${t("ad.rounds")}: ${gain?.rounds ?? 0}` : t(view.phase === "finished" ? "ad.nothingbetter" : "ad.nogain");
  return (
    <div className={grid.stats}>
      <Stat label={`${t("ad.gain")} · ${metricName(t, view.objective)}${load ? `, ${loadName(t, load)}` : ""}`} value={f.times(ratio?.value)} detail={ends} />
      <Stat label={t("ad.metric.output_tokens_per_s")} value={f.rate(after ?? before)} unit="tokens/s" detail={after === undefined ? t("ad.baseline") : `${t("ad.baseline")} ${f.rate(before)}`} />
      <Stat label={`${t("ad.fidelitytile")} · ${view.use_class}`} value={t(`ad.gate.${proof?.verdict ?? leader?.gate ?? "unmeasured"}` as MessageKey)} {...(kl?.high != null && kl.limit !== null ? { detail: t("ad.klatmost", { high: kl.high.toFixed(4), limit: kl.limit }) } : {})} />
      <Stat label={t("ad.windows")} value={f.whole(view.counts.windows_accepted + view.counts.windows_rejected)} detail={t("ad.windowsdetail", { rejected: view.counts.windows_rejected, crashes: view.counts.crashes, refused: view.counts.refused })} />
    </div>
  );
}

function Progress({ view }: { view: View }) {
  const { t } = useI18n();
  const ended = hasEnded(view.phase);
  const steps: string[] = view.phase === "failed" || view.phase === "cancelled" ? [...PHASES.slice(0, 3), view.phase] : [...PHASES];
  const at = steps.indexOf(view.phase);
  return (
    <Panel title={t("ad.progress")}>
      <ol className={css.phases} aria-label={t("ad.phases")} data-ended={ended || undefined}>
        {steps.map((name, index) => (
          <li key={name} data-at={index < at || (ended && index === at) ? "done" : index === at ? "now" : "next"} aria-current={index === at ? "step" : undefined}>
            <span className={css.dot} aria-hidden="true" />
            {t(`state.${name}` as MessageKey)}
          </li>
        ))}
      </ol>
      <p className={css.activity} aria-live="polite">{view.activity}</p>
      <Budget used={view.budget.used_s} whole={view.budget.duration_s} />
    </Panel>
  );
}

function Changed({ view }: { view: View }) {
  const { t } = useI18n();
  const id = view.chosen ?? view.confirmed ?? view.leading;
  const choice = view.candidates.find((one) => one.id === id);
  const baseline = view.candidates.find((one) => one.is_baseline);
  if (choice === undefined || baseline === undefined || choice.is_baseline) return null;
  const rows = [
    ...(choice.engine === baseline.engine ? [] : [{ name: t("rc.engine"), before: baseline.engine, after: choice.engine }]),
    ...Object.entries(choice.changed).map(([name, after]) => ({ name, before: name in baseline.settings ? String(baseline.settings[name]) : t("ad.unset"), after: String(after) })),
  ];
  return (
    <Panel title={t("ad.changed")} actions={<span className={grid.chip}>{view.chosen ? t("ad.chosen") : t("ad.leading")} #{choice.number}</span>}>
      <Table
        caption={t("ad.changed")}
        rows={rows}
        id={(row) => row.name}
        columns={[
          { head: t("ad.setting"), cell: (row) => <code>{row.name}</code> },
          { head: t("ad.baseline"), cell: (row) => row.before },
          { head: t("ad.choice"), cell: (row) => <strong>{row.after}</strong> },
        ]}
      />
    </Panel>
  );
}

function Asked({ one, view }: { one: Adaptation; view: View }) {
  const { t } = useI18n();
  const f = useFormat();
  const { workload } = view;
  return (
    <Panel>
      <dl className={css.facts}>
        <dt>{t("rc.workload")}</dt>
        <dd>{workload.name}: {workload.requests.map((shape) => `${shape.input_tokens}+${shape.output_tokens}`).join(", ")} tokens · {workload.concurrencies.map((n) => t("ad.closed", { n })).join(", ")}</dd>
        <dt>{t("ad.form.use")}</dt>
        <dd>{view.use_class}</dd>
        <dt>{t("ad.candidatelist")}</dt>
        <dd>{t("ad.candidatesof", { tried: view.counts.candidates_tried, untried: view.counts.candidates_untried })}</dd>
        <dt>{t("rc.build")}</dt>
        <dd>{view.builds.length ? view.builds.map((build) => <div key={build.digest}>{build.engine} {build.version} <code title={build.digest}>{build.digest.slice(0, 8)}</code></div>) : "–"}</dd>
        <dt>{t("common.created")}</dt>
        <dd><time dateTime={one.created_at}>{f.when(one.created_at)}</time></dd>
        <dt>ID</dt>
        <dd><code>{one.id}</code></dd>
      </dl>
    </Panel>
  );
}
