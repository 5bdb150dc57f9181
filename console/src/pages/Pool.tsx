import { useQuery } from "@tanstack/react-query";
import { Fragment } from "react";
import { get, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n, type MessageKey } from "../app/i18n";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel, Table } from "../components/layout";

function useList<T>(path: string) {
  return useQuery({ queryKey: [path], queryFn: () => get<Page<T>>(path, { limit: 500 }), refetchInterval: 5000 });
}

export function Pool() {
  const { t } = useI18n();
  return (
    <div className={grid.stack}>
      <PageHead title={t("pool.title")} />
      <Centres />
      <Cards />
      <Nodes />
    </div>
  );
}

function Simulated({ on }: { on: boolean }) {
  const { t } = useI18n();
  return on ? <span className={grid.chip}>{t("pool.simulated")}</span> : null;
}

function Centres() {
  const { t } = useI18n();
  const f = useFormat();
  const list = useList<Schemas["Centre"]>("/centres");
  if (!list.data) return list.error ? <ErrorBox error={list.error} /> : <Skeleton />;
  return (
    <Panel title={t("pool.centres")} cli="yunhe centre list">
      <Table
        caption={t("pool.centres")}
        rows={list.data.data}
        id={(one) => one.id}
        columns={[
          { head: t("common.name"), cell: (one) => <><strong>{one.name}</strong> <Simulated on={one.simulated} /></> },
          { head: t("common.state"), cell: (one) => <StateBadge state={one.state} /> },
          { head: t("pool.driver"), cell: (one) => one.driver },
          { head: t("pool.lastsync"), cell: (one) => (one.last_sync_at ? f.ago(one.last_sync_at) : t("common.never")) },
          { head: t("pool.nodes"), number: true, cell: (one) => f.whole(one.nodes) },
          { head: t("pool.cards"), number: true, cell: (one) => `${f.whole(one.healthy_cards)} / ${f.whole(one.cards)}` },
          { head: t("pool.engines"), cell: (one) => one.engines.join(", ") || "–" },
        ]}
      />
    </Panel>
  );
}

function Cards() {
  const { t } = useI18n();
  const f = useFormat();
  const list = useList<Schemas["Card"]>("/cards");
  if (!list.data) return list.error ? <ErrorBox error={list.error} /> : <Skeleton />;
  return (
    <Panel title={t("pool.cards")} cli="yunhe card list">
      {list.data.data.length === 0 ? <Empty text={t("pool.nocards")} /> : (
        <Table
          caption={t("pool.cards")}
          rows={list.data.data}
          id={(one) => one.centre + one.uid}
          columns={[
            { head: t("pool.chip"), cell: (one) => <><strong>{one.model_name}</strong> <Simulated on={one.simulated} /><div className={grid.muted}><code>{one.chip}</code></div></> },
            { head: t("pool.health"), cell: (one) => <><StateBadge state={one.health} /><div className={grid.muted}>{one.health_reason}</div></> },
            { head: t("dep.centre"), cell: (one) => <>{one.centre}<div className={grid.muted}>{one.node}</div></> },
            { head: t("pool.memory"), number: true, cell: (one) => f.bytes(one.memory_bytes) },
            { head: t("pool.cores"), number: true, cell: (one) => (one.cores === null ? "–" : f.whole(one.cores)) },
            { head: t("pool.speeds"), wide: true, cell: (one) => <Speeds speeds={one.speeds} /> },
            { head: t("pool.features"), wide: true, cell: (one) => <div className={grid.chips}>{one.features.map((name) => <span key={name} className={grid.chip}>{name}</span>)}</div> },
            { head: t("dep.replicas"), number: true, cell: (one) => f.whole(one.used_by.length) },
          ]}
        />
      )}
    </Panel>
  );
}

function Speeds({ speeds }: { speeds: Schemas["Card"]["speeds"] }) {
  const { t } = useI18n();
  const f = useFormat();
  const entries = Object.entries(speeds);
  if (entries.length === 0) return <>–</>;
  return (
    <div className={grid.speeds}>
      {entries.map(([name, measure]) => (
        <Fragment key={name}>
          <span>{f.speed(measure.value, measure.unit)}</span>
          <span className={grid.muted}>
            {name.replaceAll("_", " ")} · {t(`source.${measure.source}` as MessageKey)}
          </span>
        </Fragment>
      ))}
    </div>
  );
}

function Nodes() {
  const { t } = useI18n();
  const f = useFormat();
  const list = useList<Schemas["Node"]>("/nodes");
  if (!list.data) return list.error ? <ErrorBox error={list.error} /> : <Skeleton />;
  return (
    <Panel title={t("pool.nodes")} cli="yunhe node list">
      {list.data.data.length === 0 ? <Empty text={t("pool.nocards")} /> : (
        <Table
          caption={t("pool.nodes")}
          rows={list.data.data}
          id={(one) => one.centre + one.name}
          columns={[
            { head: t("common.name"), cell: (one) => <strong>{one.name}</strong> },
            { head: t("dep.centre"), cell: (one) => one.centre },
            { head: t("pool.cores"), number: true, cell: (one) => (one.cpu_cores === null ? "–" : f.whole(one.cpu_cores)) },
            { head: t("pool.memory"), number: true, cell: (one) => f.bytes(one.memory_bytes) },
            { head: t("pool.cards"), number: true, cell: (one) => f.whole(one.cards) },
            { head: t("pool.os"), cell: (one) => one.os },
          ]}
        />
      )}
    </Panel>
  );
}
