import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { get, post, type Page, type Schemas } from "../api/client";
import { useI18n } from "../app/i18n";
import { Actions, Button, Field } from "../components/controls";
import { ErrorBox } from "../components/feedback";
import { grid } from "../components/layout";

type Form = { model: string; name: string; replicas: number; kind: "local" | "external"; url: string; upstream: string; key: string };

export function NewDeployment({ project, onDone }: { project: string; onDone: () => void }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const models = useQuery({ queryKey: ["models-all"], queryFn: () => get<Page<Schemas["Model"]>>("/models", { limit: 500 }) });
  const [form, setForm] = useState<Form>({ model: "", name: "", replicas: 1, kind: "local", url: "", upstream: "", key: "" });
  const set = (change: Partial<Form>) => setForm({ ...form, ...change });
  const model = form.model || (models.data?.data[0]?.name ?? "");
  const create = useMutation({
    mutationFn: () =>
      post<Schemas["Deployment"]>("/deployments", {
        model,
        project,
        replicas: form.replicas,
        ...(form.name ? { name: form.name } : {}),
        ...(form.kind === "external"
          ? { external: { base_url: form.url, ...(form.upstream ? { upstream_model: form.upstream } : {}), ...(form.key ? { api_key: form.key } : {}) } }
          : {}),
      }),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: ["deployments"] });
      onDone();
    },
  });
  return (
    <form onSubmit={(event) => { event.preventDefault(); create.mutate(); }}>
      <Field label={t("common.model")}>
        {(id) => (
          <select id={id} value={model} onChange={(e) => set({ model: e.target.value })}>
            {models.data?.data.map((one) => <option key={one.name}>{one.name}</option>)}
          </select>
        )}
      </Field>
      <div className={grid.form}>
        <Field label={t("common.name")}>{(id) => <input id={id} placeholder={model} value={form.name} onChange={(e) => set({ name: e.target.value })} />}</Field>
        <Field label={t("dep.replicas")}>{(id) => <input id={id} type="number" min={0} max={64} value={form.replicas} onChange={(e) => set({ replicas: Number(e.target.value) })} />}</Field>
      </div>
      <Field label={t("dep.kind")}>
        {(id) => (
          <select id={id} value={form.kind} onChange={(e) => set({ kind: e.target.value as Form["kind"] })}>
            <option value="local">{t("dep.kind.local")}</option>
            <option value="external">{t("dep.kind.external")}</option>
          </select>
        )}
      </Field>
      {form.kind === "external" ? (
        <>
          <Field label={t("dep.url")}>{(id) => <input id={id} type="url" required placeholder="http://10.0.0.5:8000" value={form.url} onChange={(e) => set({ url: e.target.value })} />}</Field>
          <div className={grid.form}>
            <Field label={t("dep.upstream")}>{(id) => <input id={id} placeholder={model} value={form.upstream} onChange={(e) => set({ upstream: e.target.value })} />}</Field>
            <Field label={t("dep.serverkey")}>{(id) => <input id={id} type="password" autoComplete="off" value={form.key} onChange={(e) => set({ key: e.target.value })} />}</Field>
          </div>
        </>
      ) : null}
      {create.error ? <ErrorBox error={create.error} /> : null}
      <Actions>
        <Button onClick={onDone}>{t("common.cancel")}</Button>
        <Button kind="primary" type="submit" disabled={create.isPending || !model}>{t("dep.create")}</Button>
      </Actions>
    </form>
  );
}
