import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { useSearchParams } from "wouter";
import { get, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { stateWord, useI18n } from "../app/i18n";
import { useSession } from "../app/session";
import { Chart, type Series } from "../components/Chart";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel, Stat, Table } from "../components/layout";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PERIODS = [1, 7, 30, 90];
type Usage = Schemas["Usage"];

export function Usage() {
  const { t } = useI18n();
  const { project } = useSession();
  const [search, setSearch] = useSearchParams();
  const days = PERIODS.find((one) => String(one) === search.get("days")) ?? 1;
  const by = search.get("by") === "key" ? "key" : "model";
  const set = (change: Record<string, string>) => setSearch({ days: String(days), by, ...change });
  return (
    <div className={grid.stack}>
      <PageHead title={t("usage.title")}>
        <select className={grid.select} aria-label={t("usage.period")} value={days} onChange={(event) => set({ days: event.target.value })}>
          {PERIODS.map((one) => (
            <option key={one} value={one}>{one === 1 ? t("usage.day") : t("usage.days", { n: one })}</option>
          ))}
        </select>
      </PageHead>
      <Figures project={project} days={days} />
      <OverTime project={project} days={days} />
      <Groups project={project} days={days} by={by} onBy={(value) => set({ by: value })} />
      <Recent project={project} />
    </div>
  );
}

/** Whole minutes, so that the query stays the same while the page is open. */
function since(days: number): string {
  return new Date(Math.floor((Date.now() - days * DAY_MS) / 60_000) * 60_000).toISOString();
}

/** The beginnings of the period's hours, or days when it is longer than one. */
function buckets(days: number): number[] {
  const step = days <= 1 ? HOUR_MS : DAY_MS;
  const last = Math.floor(Date.now() / step);
  const count = (days * DAY_MS) / step;
  return Array.from({ length: count + 1 }, (_, index) => (last - count + index) * step);
}

function useUsage(project: string, days: number, groupBy: string) {
  return useQuery({
    queryKey: ["usage", project, days, groupBy],
    queryFn: () => get<Usage>("/usage", { project, from: since(days), group_by: groupBy }),
    refetchInterval: 5000,
  });
}

function Figures({ project, days }: { project: string; days: number }) {
  const { t } = useI18n();
  const f = useFormat();
  const usage = useUsage(project, days, "model");
  const balance = useQuery({ queryKey: ["balance", project], queryFn: () => get<Schemas["Balance"]>("/balance", { project }), refetchInterval: 5000 });
  const error = usage.error ?? balance.error;
  if (error) return <ErrorBox error={error} onRetry={() => void usage.refetch()} />;
  if (!usage.data || !balance.data) return <Skeleton />;
  const total = usage.data.total;
  return (
    <div className={grid.stats}>
      <Stat label={t("usage.balance")} value={f.credits(balance.data.balance_micro)} unit={t("usage.credits")} detail={`${f.credits(balance.data.available_micro)} ${t("usage.available")}`} />
      <Stat label={t("usage.cost")} value={f.credits(total.cost_micro)} unit={t("usage.credits")} />
      <Stat label={t("usage.requests")} value={f.whole(total.requests)} detail={`${f.whole(total.errors)} ${t("usage.errors").toLocaleLowerCase()}`} />
      <Stat label={t("usage.completion")} value={f.whole(total.completion_tokens)} detail={`${f.whole(total.prompt_tokens)} ${t("usage.prompt").toLocaleLowerCase()}`} />
    </div>
  );
}

function OverTime({ project, days }: { project: string; days: number }) {
  const { t } = useI18n();
  const usage = useUsage(project, days, days <= 1 ? "hour" : "day");
  const groups = usage.data?.groups;
  const series = useMemo<Series[]>(() => {
    const known = new Map((groups ?? []).map((group) => [Date.parse(group.key), group]));
    const pick = (value: (g: Schemas["UsageGroup"]) => number) =>
      buckets(days).map((at): [string, number] => [new Date(at).toISOString(), known.has(at) ? value(known.get(at)!) : 0]);
    return [
      { name: t("usage.prompt"), unit: "tokens", values: pick((g) => g.prompt_tokens) },
      { name: t("usage.completion"), unit: "tokens", values: pick((g) => g.completion_tokens) },
    ];
  }, [groups, days, t]);
  return (
    <Panel title={t("usage.chart")} cli={`yunhe usage --by ${days <= 1 ? "hour" : "day"}`}>
      {!groups ? <Skeleton lines={5} /> : groups.length === 0 ? <Empty text={t("usage.empty")} /> : <Chart kind="bar" label={t("usage.chart")} series={series} />}
    </Panel>
  );
}

function Groups({ project, days, by, onBy }: { project: string; days: number; by: string; onBy: (by: string) => void }) {
  const { t } = useI18n();
  const f = useFormat();
  const usage = useUsage(project, days, by);
  const choice = (
    <label className={grid.row}>
      <span className={grid.muted}>{t("usage.by")}</span>
      <select className={grid.select} value={by} onChange={(event) => onBy(event.target.value)}>
        <option value="model">{t("usage.by.model")}</option>
        <option value="key">{t("usage.by.key")}</option>
      </select>
    </label>
  );
  return (
    <Panel title={t("common.total")} actions={choice} cli={`yunhe usage --by ${by}`}>
      {!usage.data ? <Skeleton /> : usage.data.groups.length === 0 ? <Empty text={t("usage.empty")} /> : (
        <Table
          caption={t("common.total")}
          rows={usage.data.groups}
          id={(group) => group.key}
          columns={[
            { head: t(by === "key" ? "usage.by.key" : "usage.by.model"), cell: (group) => <strong>{group.name || group.key}</strong> },
            { head: t("usage.requests"), number: true, cell: (group) => f.whole(group.requests) },
            { head: t("usage.prompt"), number: true, cell: (group) => f.whole(group.prompt_tokens) },
            { head: t("usage.cached"), number: true, cell: (group) => f.whole(group.cached_tokens) },
            { head: t("usage.completion"), number: true, cell: (group) => f.whole(group.completion_tokens) },
            { head: t("usage.errors"), number: true, cell: (group) => f.whole(group.errors) },
            { head: `${t("usage.cost")} (${t("usage.credits")})`, number: true, cell: (group) => f.credits(group.cost_micro) },
          ]}
        />
      )}
    </Panel>
  );
}

function Recent({ project }: { project: string }) {
  const { t } = useI18n();
  const f = useFormat();
  const records = useQuery({ queryKey: ["records", project], queryFn: () => get<Page<Schemas["UsageRecord"]>>("/usage/records", { project, limit: 15 }), refetchInterval: 5000 });
  if (records.error) return <ErrorBox error={records.error} />;
  return (
    <Panel title={t("usage.recent")} cli="yunhe usage --records">
      {!records.data ? <Skeleton /> : records.data.data.length === 0 ? <Empty text={t("usage.empty")} /> : (
        <Table
          caption={t("usage.recent")}
          rows={records.data.data}
          id={(record) => record.request_id}
          columns={[
            { head: t("usage.when"), cell: (record) => <time dateTime={record.started_at} title={record.request_id}>{f.when(record.started_at)}</time> },
            { head: t("common.model"), cell: (record) => record.model },
            { head: t("usage.outcome"), cell: (record) => <StateBadge state={record.outcome === "ok" ? "ok" : record.outcome === "client_disconnected" ? "stopped" : "error"} label={stateWord(t, record.outcome)} /> },
            { head: t("usage.prompt"), number: true, cell: (record) => f.whole(record.prompt_tokens) },
            { head: t("usage.completion"), number: true, cell: (record) => f.whole(record.completion_tokens) },
            { head: t("home.ttft"), number: true, cell: (record) => f.seconds(record.ttft_s) },
            { head: t("usage.duration"), number: true, cell: (record) => f.seconds(record.duration_s) },
            { head: `${t("usage.cost")} (${t("usage.credits")})`, number: true, cell: (record) => f.credits(record.cost_micro) },
          ]}
        />
      )}
    </Panel>
  );
}
