import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { get, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { Chart, type Series } from "../components/Chart";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel, Stat, Table } from "../components/layout";

const LIVE_MS = 2000;

export function Home() {
  const { t } = useI18n();
  const status = useQuery({ queryKey: ["status"], queryFn: () => get<Schemas["Status"]>("/status"), refetchInterval: 5000 });
  return (
    <div className={grid.stack}>
      <PageHead title={t("home.title")}>
        {status.data ? <StateBadge state={status.data.healthy ? "ok" : "degraded"} label={t(status.data.healthy ? "home.healthy" : "home.unhealthy")} /> : null}
      </PageHead>
      <Live />
      <div className={grid.two}>
        <Panel title={t("home.parts")} cli="yunhe status">
          {status.error ? <ErrorBox error={status.error} onRetry={() => void status.refetch()} /> : null}
          {status.data ? <Parts parts={status.data.parts} /> : status.error ? null : <Skeleton />}
        </Panel>
        <Events />
      </div>
    </div>
  );
}

function Live() {
  const { t } = useI18n();
  const f = useFormat();
  const live = useQuery({
    queryKey: ["live"],
    queryFn: () => get<Schemas["LiveMetrics"]>("/metrics/live", { window_s: 300 }),
    refetchInterval: LIVE_MS,
  });
  const points = live.data?.series;
  const [traffic, latency] = useMemo(() => charts(points ?? [], t("home.requests"), t("home.tokens")), [points, t]);
  if (live.error && !live.data) return <ErrorBox error={live.error} onRetry={() => void live.refetch()} />;
  if (!live.data) return <Skeleton lines={5} />;
  const now = live.data;
  const seen = now.series.some((point) => (point.requests_per_s ?? 0) > 0);
  return (
    <>
      <div className={grid.stats}>
        <Stat label={t("home.requests")} value={f.rate(now.requests_per_s)} unit="/s" detail={`${f.whole(now.in_flight)} ${t("home.inflight")} · ${f.rate(now.errors_per_s)} ${t("home.errors")}`} />
        <Stat label={t("home.tokens")} value={f.rate(now.completion_tokens_per_s)} unit="/s" detail={now.models.map((one) => one.model).slice(0, 2).join(", ")} />
        <Stat label={t("home.ttft")} value={f.ms(now.ttft_ms_p50)} detail={`p50 · p95 ${f.ms(now.ttft_ms_p95)}`} />
        <Stat label={t("home.latency")} value={f.ms(now.duration_ms_p50)} detail={`p50 · p95 ${f.ms(now.duration_ms_p95)}`} />
      </div>
      <div className={grid.two}>
        <Panel title={t("home.traffic")}>{seen ? <Chart label={t("home.traffic")} series={traffic} /> : <Empty text={t("home.notraffic")} />}</Panel>
        <Panel title={t("home.latencychart")}>{seen ? <Chart label={t("home.latencychart")} series={latency} /> : <Empty text={t("home.notraffic")} />}</Panel>
      </div>
    </>
  );
}

function charts(points: Schemas["LivePoint"][], requests: string, tokens: string): [Series[], Series[]] {
  const pick = (value: (point: Schemas["LivePoint"]) => number | null) => points.map((point): [string, number | null] => [point.at, value(point)]);
  return [
    [
      { name: tokens, unit: "tokens/s", values: pick((p) => p.completion_tokens_per_s) },
      { name: requests, unit: "req/s", values: pick((p) => p.requests_per_s), axis: 1 },
    ],
    [
      { name: "p50", unit: "ms", values: pick((p) => p.ttft_ms_p50) },
      { name: "p95", unit: "ms", values: pick((p) => p.ttft_ms_p95) },
    ],
  ];
}

function Parts({ parts }: { parts: Schemas["Part"][] }) {
  const { t } = useI18n();
  return (
    <Table
      caption={t("home.parts")}
      rows={parts}
      id={(part) => part.kind + part.name}
      columns={[
        { head: t("common.name"), cell: (part) => part.name },
        { head: t("common.state"), cell: (part) => <StateBadge state={part.state} /> },
        {
          head: t("common.reason"),
          wide: true,
          cell: (part) => (
            <>
              {part.detail}
              {part.next_step && part.state !== "ok" ? <div className={grid.muted}>→ {part.next_step}</div> : null}
            </>
          ),
        },
      ]}
    />
  );
}

function Events() {
  const { t } = useI18n();
  const f = useFormat();
  const events = useQuery({ queryKey: ["events"], queryFn: () => get<Page<Schemas["Event"]>>("/events", { limit: 8 }), refetchInterval: 5000 });
  return (
    <Panel title={t("home.events")} cli="yunhe event list">
      {events.error ? <ErrorBox error={events.error} /> : null}
      {events.data && events.data.data.length === 0 ? <Empty text={t("home.noevents")} /> : null}
      {events.data && events.data.data.length > 0 ? (
        <Table
          caption={t("home.events")}
          rows={events.data.data}
          id={(event) => event.id}
          columns={[
            { head: t("usage.when"), cell: (event) => <time dateTime={event.at} title={f.when(event.at)}>{f.ago(event.at)}</time> },
            { head: t("common.name"), cell: (event) => <StateBadge state={event.severity === "error" ? "error" : event.severity === "warning" ? "starting" : "ok"} label={event.kind.replaceAll("_", " ")} /> },
            { head: t("common.reason"), wide: true, cell: (event) => event.reason },
          ]}
        />
      ) : null}
      {!events.data && !events.error ? <Skeleton /> : null}
    </Panel>
  );
}
