import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useSearchParams } from "wouter";
import { get, patch, post, remove, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { useSession } from "../app/session";
import { Button, Confirm, Dialog } from "../components/controls";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel, Table } from "../components/layout";
import { DeploymentDetails } from "./DeploymentDetails";
import { NewDeployment } from "./NewDeployment";

type Deployment = Schemas["Deployment"];

export function Deployments() {
  const { t } = useI18n();
  const { project } = useSession();
  const [search, setSearch] = useSearchParams();
  const [creating, setCreating] = useState(false);
  const list = useQuery({
    queryKey: ["deployments", project],
    queryFn: () => get<Page<Deployment>>("/deployments", { project, limit: 500 }),
    refetchInterval: 2000,
  });
  const opened = list.data?.data.find((one) => one.name === search.get("open"));
  return (
    <div className={grid.stack}>
      <PageHead title={t("dep.title")}>
        <Button kind="primary" onClick={() => setCreating(true)}>
          {t("dep.new")}
        </Button>
      </PageHead>
      {list.error ? <ErrorBox error={list.error} onRetry={() => void list.refetch()} /> : null}
      <Panel title={project} cli={`yunhe deployment list --project ${project}`}>
        {!list.data ? <Skeleton /> : list.data.data.length === 0 ? <Empty text={t("dep.empty")} /> : <List rows={list.data.data} onOpen={(name) => setSearch({ open: name })} />}
      </Panel>
      <Dialog title={t("dep.new")} open={creating} onClose={() => setCreating(false)}>
        <NewDeployment project={project} onDone={() => setCreating(false)} />
      </Dialog>
      <Dialog wide title={opened?.name ?? ""} open={opened !== undefined} onClose={() => setSearch({})}>
        {opened ? <DeploymentDetails deployment={opened} /> : null}
      </Dialog>
    </div>
  );
}

function List({ rows, onOpen }: { rows: Deployment[]; onOpen: (name: string) => void }) {
  const { t } = useI18n();
  const f = useFormat();
  return (
    <Table
      caption={t("dep.title")}
      rows={rows}
      id={(one) => one.id}
      columns={[
        {
          head: t("common.name"),
          cell: (one) => (
            <>
              <strong>{one.name}</strong>
              {one.name !== one.model ? <div className={grid.muted}>{one.model}</div> : null}
            </>
          ),
        },
        {
          head: t("common.state"),
          wide: true,
          cell: (one) => (
            <>
              <StateBadge state={one.state} />
              <div className={grid.muted}>{one.reason}</div>
            </>
          ),
        },
        { head: t("dep.replicas"), number: true, cell: (one) => `${one.ready_replicas} / ${one.replicas}` },
        { head: t("dep.engine"), cell: (one) => <>{one.engine}<div className={grid.muted}>{one.recipe.name}</div></> },
        { head: t("dep.centre"), cell: (one) => one.centre ?? t("dep.anycentre") },
        { head: t("common.created"), cell: (one) => <time dateTime={one.created_at} title={f.when(one.created_at)}>{f.ago(one.created_at)}</time> },
        { head: t("dep.details"), cell: (one) => <RowActions deployment={one} onOpen={() => onOpen(one.name)} /> },
      ]}
    />
  );
}

function RowActions({ deployment, onOpen }: { deployment: Deployment; onOpen: () => void }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const [scaling, setScaling] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const [count, setCount] = useState(deployment.replicas);
  const done = () => {
    setScaling(false);
    setDeleting(false);
    void client.invalidateQueries({ queryKey: ["deployments"] });
  };
  const scale = useMutation({ mutationFn: () => patch(`/deployments/${deployment.id}`, { replicas: count }), onSuccess: done });
  const restart = useMutation({ mutationFn: () => post(`/deployments/${deployment.id}/restart`), onSuccess: done });
  const erase = useMutation({ mutationFn: () => remove(`/deployments/${deployment.id}`), onSuccess: done });
  const error = scale.error ?? restart.error ?? erase.error;
  return (
    <div className={grid.row}>
      <Button small onClick={onOpen}>{t("dep.details")}</Button>
      <Button small onClick={() => { setCount(deployment.replicas); setScaling(true); }}>{t("dep.scale")}</Button>
      <Button small disabled={restart.isPending || deployment.state === "deleting"} onClick={() => restart.mutate()}>{t("dep.restart")}</Button>
      <Button small disabled={deployment.state === "deleting"} onClick={() => setDeleting(true)}>{t("dep.delete")}</Button>
      {error ? <ErrorBox error={error} /> : null}
      <Dialog title={`${t("dep.scale")} · ${deployment.name}`} open={scaling} onClose={() => setScaling(false)}>
        <form onSubmit={(event) => { event.preventDefault(); scale.mutate(); }}>
          <label className={grid.row}>
            {t("dep.replicas")}
            <input className={grid.select} type="number" min={0} max={64} value={count} onChange={(event) => setCount(Number(event.target.value))} />
          </label>
          <Button kind="primary" type="submit" disabled={scale.isPending}>{t("dep.apply")}</Button>
        </form>
      </Dialog>
      <Confirm question={t("dep.deleteask")} action={t("dep.delete")} open={deleting} busy={erase.isPending} onClose={() => setDeleting(false)} onConfirm={() => erase.mutate()} />
    </div>
  );
}
