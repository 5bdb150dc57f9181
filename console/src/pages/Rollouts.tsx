import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { get, post, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { Button, Confirm } from "../components/controls";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, Panel, Table } from "../components/layout";

type Rollout = Schemas["Rollout"];
const OPEN = new Set(["canary", "switching"]);

/** Recipes on their way to a deployment: how far, how they fare beside the others, and the two ways to end it. */
export function Rollouts({ deployment }: { deployment: Schemas["Deployment"] }) {
  const { t } = useI18n();
  const f = useFormat();
  const list = useQuery({
    queryKey: ["rollouts", deployment.id],
    queryFn: () => get<Page<Rollout>>(`/deployments/${deployment.id}/rollouts`, { limit: 20 }),
    refetchInterval: 2000,
  });
  if (deployment.external !== null) return null;
  return (
    <Panel title={t("ro.title")} cli={`yunhe rollout list ${deployment.name}`}>
      {list.error ? <ErrorBox error={list.error} /> : null}
      {!list.data ? (list.error ? null : <Skeleton />) : list.data.data.length === 0 ? <Empty text={t("ro.empty")} /> : (
        <Table
          caption={t("ro.title")}
          rows={list.data.data}
          id={(one) => one.id}
          columns={[
            { head: t("ro.stage"), wide: true, cell: (one) => <><StateBadge state={one.stage} /><div className={grid.muted}>{one.progress || one.reason}</div>{OPEN.has(one.stage) ? <Ending rollout={one} deployment={deployment} /> : null}</> },
            { head: t("ro.recipe"), cell: (one) => <>{one.recipe_id ? <Link href={`/recipes/${one.recipe_id}`}><code>{one.recipe.name}</code></Link> : <code>{one.recipe.name}</code>}<div className={grid.muted}>{t("ro.before", { name: one.previous.name })}</div></> },
            { head: t("ro.share"), number: true, cell: (one) => f.share(one.share) },
            { head: t("ro.canaryfigures"), number: true, cell: (one) => <Figures one={one.figures} /> },
            { head: t("ro.others"), number: true, cell: (one) => <Figures one={one.others} /> },
            { head: t("common.created"), cell: (one) => <time dateTime={one.created_at} title={f.when(one.created_at)}>{f.ago(one.created_at)}</time> },
          ]}
        />
      )}
    </Panel>
  );
}

function Figures({ one }: { one: Schemas["Figures"] }) {
  const { t } = useI18n();
  const f = useFormat();
  return (
    <>
      {t("ro.requests", { n: f.whole(one.requests) })}
      {one.errors ? <div>▲ {t("ro.errors", { n: f.whole(one.errors) })}</div> : null}
      <div className={grid.muted}>TPOT {f.seconds(one.tpot_p50_s)}</div>
      <div className={grid.muted}>TTFT p95 {f.seconds(one.ttft_p95_s)}</div>
    </>
  );
}

function Ending({ rollout, deployment }: { rollout: Rollout; deployment: Schemas["Deployment"] }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const [asking, setAsking] = useState<"promote" | "abort" | null>(null);
  const end = useMutation({
    mutationFn: (how: "promote" | "abort") => post(`/deployments/${deployment.id}/rollouts/${rollout.id}/${how}`),
    onSettled: () => {
      setAsking(null);
      void client.invalidateQueries({ queryKey: ["rollouts", deployment.id] });
      void client.invalidateQueries({ queryKey: ["deployments"] });
    },
  });
  return (
    <>
      <div className={grid.row}>
        <Button small kind="primary" onClick={() => setAsking("promote")}>{t("ro.promote")}</Button>
        <Button small onClick={() => setAsking("abort")}>{t("ro.abort")}</Button>
      </div>
      {end.error ? <ErrorBox error={end.error} /> : null}
      <Confirm
        question={t(asking === "promote" ? "ro.promoteask" : "ro.abortask")}
        action={t(asking === "promote" ? "ro.promote" : "ro.abort")}
        danger={asking !== "promote"}
        open={asking !== null}
        busy={end.isPending}
        onClose={() => setAsking(null)}
        onConfirm={() => { if (asking) end.mutate(asking); }}
      />
    </>
  );
}
