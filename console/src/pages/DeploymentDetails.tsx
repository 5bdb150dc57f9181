import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { get, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { Button } from "../components/controls";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, Panel, Table } from "../components/layout";
import { Rollouts } from "./Rollouts";

const PIECE_BYTES = 524_288;
const PIECES_AT_ONCE = 32;
const SHOWN_CHARACTERS = 100_000;
type LogSeen = { text: string; offset: number };

/** Reads on from where the last reading ended, and keeps the end. */
async function readLog(replica: string, seen: LogSeen): Promise<LogSeen> {
  let { text, offset } = seen;
  for (let pieces = 0; pieces < PIECES_AT_ONCE; pieces += 1) {
    const piece = await get<Schemas["Log"]>(`/replicas/${replica}/logs`, { offset, limit_bytes: PIECE_BYTES });
    text = (text + piece.text).slice(-SHOWN_CHARACTERS);
    offset = piece.next_offset;
    if (piece.end) break;
  }
  return { text, offset };
}

/** A deployment's replicas, their log, and what happened to it. */
export function DeploymentDetails({ deployment }: { deployment: Schemas["Deployment"] }) {
  const { t } = useI18n();
  const f = useFormat();
  const [log, setLog] = useState<string | null>(null);
  const replicas = useQuery({
    queryKey: ["replicas", deployment.id],
    queryFn: () => get<Page<Schemas["Replica"]>>("/replicas", { deployment: deployment.id }),
    refetchInterval: 2000,
  });
  return (
    <div className={grid.stack}>
      <div className={grid.row}>
        <StateBadge state={deployment.state} /> <span className={grid.muted}>{deployment.reason}</span>
      </div>
      {replicas.error ? <ErrorBox error={replicas.error} /> : null}
      <Panel title={t("dep.replicas")} cli={`yunhe replica list --deployment ${deployment.name}`}>
        {!replicas.data ? <Skeleton /> : replicas.data.data.length === 0 ? <Empty text={t("dep.noreplicas")} /> : (
          <Table
            caption={t("dep.replicas")}
            rows={replicas.data.data}
            id={(one) => one.id}
            columns={[
              { head: "ID", cell: (one) => <code title={one.id}>…{one.id.slice(-8)}</code> },
              { head: t("common.state"), wide: true, cell: (one) => <><StateBadge state={one.state} /><div className={grid.muted}>{one.reason}</div></> },
              { head: t("dep.since"), cell: (one) => <time dateTime={one.state_since} title={f.when(one.state_since)}>{f.ago(one.state_since)}</time> },
              { head: t("dep.centre"), cell: (one) => <>{one.centre ?? "–"}<div className={grid.muted}>{one.chip}</div></> },
              { head: t("dep.engine"), cell: (one) => <>{one.engine}<div className={grid.muted}>{one.recipe}</div></> },
              { head: t("dep.speed"), number: true, cell: (one) => (one.tokens_per_s === null ? "–" : f.speed(one.tokens_per_s, "tokens_per_s")) },
              { head: t("dep.logs"), cell: (one) => <Button small aria-pressed={log === one.id} onClick={() => setLog(log === one.id ? null : one.id)}>{t("dep.logs")}</Button> },
            ]}
          />
        )}
      </Panel>
      {log ? <Log replica={log} /> : null}
      <Rollouts deployment={deployment} />
      <Events subject={deployment.id} />
    </div>
  );
}

function Log({ replica }: { replica: string }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const box = useRef<HTMLPreElement>(null);
  const log = useQuery({
    queryKey: ["log", replica],
    queryFn: () => readLog(replica, client.getQueryData<LogSeen>(["log", replica]) ?? { text: "", offset: 0 }),
    refetchInterval: 2000,
  });
  useEffect(() => {
    const { current } = box;
    if (current === null) return;
    const following = current.scrollHeight - current.scrollTop - current.clientHeight < current.clientHeight || current.scrollTop === 0;
    if (following) current.scrollTop = current.scrollHeight;
  }, [log.data?.text]);
  return (
    <Panel title={t("dep.logs")} cli={`yunhe logs ${replica}`}>
      {log.error ? <ErrorBox error={log.error} /> : null}
      {log.data ? <pre ref={box} className={grid.log} tabIndex={0} aria-label={t("dep.logs")}>{log.data.text || "–"}</pre> : log.error ? null : <Skeleton />}
    </Panel>
  );
}

function Events({ subject }: { subject: string }) {
  const { t } = useI18n();
  const f = useFormat();
  const events = useQuery({ queryKey: ["events", subject], queryFn: () => get<Page<Schemas["Event"]>>("/events", { subject, limit: 20 }), refetchInterval: 5000 });
  if (!events.data) return events.error ? <ErrorBox error={events.error} /> : <Skeleton />;
  return (
    <Panel title={t("dep.events")}>
      {events.data.data.length === 0 ? <Empty text={t("home.noevents")} /> : (
        <Table
          caption={t("dep.events")}
          rows={events.data.data}
          id={(event) => event.id}
          columns={[
            { head: t("usage.when"), cell: (event) => <time dateTime={event.at} title={f.when(event.at)}>{f.ago(event.at)}</time> },
            { head: t("common.name"), cell: (event) => event.kind.replaceAll("_", " ") },
            { head: t("common.reason"), wide: true, cell: (event) => event.reason },
          ]}
        />
      )}
    </Panel>
  );
}
