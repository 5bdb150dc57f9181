import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useSearchParams } from "wouter";
import { get, post, remove, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { useSession } from "../app/session";
import { Actions, Button, Confirm, CopyButton, Dialog, Field } from "../components/controls";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel, Table } from "../components/layout";

type Key = Schemas["Key"];
const DAY_S = 86_400;

function stateOf(key: Key): "revoked" | "expired" | "active" {
  if (key.revoked_at) return "revoked";
  return key.expires_at && new Date(key.expires_at).getTime() < Date.now() ? "expired" : "active";
}

export function Keys() {
  const { t } = useI18n();
  const { project } = useSession();
  const [search, setSearch] = useSearchParams();
  const all = search.get("all") === "1";
  const [creating, setCreating] = useState(false);
  const list = useQuery({ queryKey: ["keys", project], queryFn: () => get<Page<Key>>("/keys", { project, limit: 500 }) });
  const rows = list.data?.data.filter((key) => all || stateOf(key) === "active");
  return (
    <div className={grid.stack}>
      <PageHead title={t("keys.title")}>
        <label className={grid.row}>
          <input type="checkbox" checked={all} onChange={(event) => setSearch(event.target.checked ? { all: "1" } : {})} />
          {t("keys.showrevoked")}
        </label>
        <Button kind="primary" onClick={() => setCreating(true)}>{t("keys.new")}</Button>
      </PageHead>
      {list.error ? <ErrorBox error={list.error} onRetry={() => void list.refetch()} /> : null}
      <Panel title={project} cli={`yunhe key list --project ${project}`}>
        {!rows ? <Skeleton /> : rows.length === 0 ? <Empty text={t("keys.empty")} /> : <List rows={rows} />}
      </Panel>
      <Dialog title={t("keys.new")} open={creating} onClose={() => setCreating(false)}>
        <NewKey project={project} onDone={() => setCreating(false)} />
      </Dialog>
    </div>
  );
}

function List({ rows }: { rows: Key[] }) {
  const { t } = useI18n();
  const f = useFormat();
  const limit = (value: number | null, unit: string) => (value === null ? null : `${f.whole(value)} ${unit}`);
  return (
    <Table
      caption={t("keys.title")}
      rows={rows}
      id={(key) => key.id}
      columns={[
        { head: t("common.name"), cell: (key) => <strong>{key.name}</strong> },
        { head: t("keys.prefix"), cell: (key) => <code>yh_{key.prefix}_…</code> },
        { head: t("common.state"), cell: (key) => <StateBadge state={stateOf(key)} label={t(`keys.${stateOf(key)}`)} /> },
        { head: t("keys.scopes"), cell: (key) => <div className={grid.chips}>{key.scopes.map((scope) => <span key={scope} className={grid.chip}>{scope}</span>)}</div> },
        { head: t("keys.limits"), cell: (key) => [limit(key.rpm_limit, "rpm"), limit(key.tpm_limit, "tpm")].filter(Boolean).join(", ") || t("common.unlimited") },
        { head: t("common.created"), cell: (key) => f.when(key.created_at) },
        { head: t("keys.expires"), cell: (key) => (key.expires_at ? f.when(key.expires_at) : t("common.never")) },
        { head: t("keys.revoke"), cell: (key) => (stateOf(key) === "active" ? <Revoke apiKey={key} /> : "–") },
      ]}
    />
  );
}

function Revoke({ apiKey }: { apiKey: Key }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const revoke = useMutation({
    mutationFn: () => remove(`/keys/${apiKey.id}`),
    onSuccess: () => {
      setAsking(false);
      void client.invalidateQueries({ queryKey: ["keys"] });
    },
  });
  return (
    <>
      <Button small onClick={() => setAsking(true)} aria-label={`${t("keys.revoke")} ${apiKey.name}`}>{t("keys.revoke")}</Button>
      {revoke.error ? <ErrorBox error={revoke.error} /> : null}
      <Confirm question={t("keys.revokeask")} action={t("keys.revoke")} open={asking} busy={revoke.isPending} onClose={() => setAsking(false)} onConfirm={() => revoke.mutate()} />
    </>
  );
}

function NewKey({ project, onDone }: { project: string; onDone: () => void }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [expiry, setExpiry] = useState(0);
  const [rpm, setRpm] = useState("");
  const [tpm, setTpm] = useState("");
  const create = useMutation({
    mutationFn: () =>
      post<Schemas["KeyWithSecret"]>("/keys", {
        name,
        project,
        ...(expiry ? { expires_in_s: expiry } : {}),
        ...(rpm ? { rpm_limit: Number(rpm) } : {}),
        ...(tpm ? { tpm_limit: Number(tpm) } : {}),
      }),
    onSuccess: () => void client.invalidateQueries({ queryKey: ["keys"] }),
  });
  if (create.data) {
    return (
      <div className={grid.stack}>
        <p>{t("keys.once")}</p>
        <code className={grid.secret} data-testid="secret">{create.data.secret}</code>
        <Actions>
          <CopyButton text={create.data.secret} small={false} />
          <Button kind="primary" onClick={onDone}>{t("keys.done")}</Button>
        </Actions>
      </div>
    );
  }
  return (
    <form onSubmit={(event) => { event.preventDefault(); create.mutate(); }}>
      <Field label={t("common.name")}>{(id) => <input id={id} required maxLength={100} value={name} onChange={(e) => setName(e.target.value)} />}</Field>
      <Field label={t("keys.expires")}>
        {(id) => (
          <select id={id} value={expiry} onChange={(e) => setExpiry(Number(e.target.value))}>
            <option value={0}>{t("keys.expiry.never")}</option>
            <option value={DAY_S}>{t("keys.expiry.day")}</option>
            <option value={30 * DAY_S}>{t("keys.expiry.month")}</option>
            <option value={365 * DAY_S}>{t("keys.expiry.year")}</option>
          </select>
        )}
      </Field>
      <div className={grid.form}>
        <Field label={t("keys.rpm")}>{(id) => <input id={id} type="number" min={1} placeholder={t("common.unlimited")} value={rpm} onChange={(e) => setRpm(e.target.value)} />}</Field>
        <Field label={t("keys.tpm")}>{(id) => <input id={id} type="number" min={1} placeholder={t("common.unlimited")} value={tpm} onChange={(e) => setTpm(e.target.value)} />}</Field>
      </div>
      {create.error ? <ErrorBox error={create.error} /> : null}
      <Actions>
        <Button onClick={onDone}>{t("common.cancel")}</Button>
        <Button kind="primary" type="submit" disabled={create.isPending || !name}>{t("keys.create")}</Button>
      </Actions>
    </form>
  );
}
