import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { get, post, type Page, type Schemas } from "../../api/client";
import type { RecipeDetail } from "../../api/recipe";
import { useI18n } from "../../app/i18n";
import { useSession } from "../../app/session";
import { Actions, Button, Field } from "../controls";
import { Empty, ErrorBox, Skeleton } from "../feedback";
import { grid } from "../layout";
import css from "../adaptation/adaptation.module.css";

/** Begins a roll-out of the recipe to a deployment of the project, and opens the deployment. */
export function RollOut({ recipe, onCancel }: { recipe: RecipeDetail; onCancel: () => void }) {
  const { t } = useI18n();
  const { project } = useSession();
  const client = useQueryClient();
  const [, go] = useLocation();
  const list = useQuery({ queryKey: ["deployments", project], queryFn: () => get<Page<Schemas["Deployment"]>>("/deployments", { project, limit: 500 }) });
  const [form, setForm] = useState({ deployment: "", share: 20, canary: 60, requests: 20 });
  const fitting = list.data?.data.filter((one) => one.model === recipe.model && one.external === null) ?? [];
  const chosen = fitting.find((one) => one.id === form.deployment) ?? fitting[0];
  const start = useMutation({
    mutationFn: (deployment: Schemas["Deployment"]) =>
      post<Schemas["Rollout"]>(`/deployments/${deployment.id}/rollouts`, { recipe_id: recipe.id, share: form.share / 100, canary_s: form.canary, requests_min: form.requests }),
    onSuccess: (_, deployment) => {
      void client.invalidateQueries({ queryKey: ["rollouts", deployment.id] });
      go(`/deployments?open=${encodeURIComponent(deployment.name)}`);
    },
  });
  if (!list.data) return list.error ? <ErrorBox error={list.error} /> : <Skeleton />;
  if (chosen === undefined) return <Empty text={t("rc.ro.none", { model: recipe.model })} />;
  return (
    <form onSubmit={(event) => { event.preventDefault(); start.mutate(chosen); }}>
      <p className={css.note}>{t("rc.ro.lead")}</p>
      <Field label={t("rc.ro.deployment")}>
        {(id) => <select id={id} value={chosen.id} onChange={(e) => setForm({ ...form, deployment: e.target.value })}>{fitting.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}</select>}
      </Field>
      <Field label={t("rc.ro.share")}>
        {(id) => <input id={id} type="number" required min={1} max={100} value={form.share} onChange={(e) => setForm({ ...form, share: Number(e.target.value) })} />}
      </Field>
      <div className={grid.form}>
        <Field label={t("rc.ro.canary")}>
          {(id) => <input id={id} type="number" required min={0} max={86400} value={form.canary} onChange={(e) => setForm({ ...form, canary: Number(e.target.value) })} />}
        </Field>
        <Field label={t("rc.ro.requests")}>
          {(id) => <input id={id} type="number" required min={0} max={500} value={form.requests} onChange={(e) => setForm({ ...form, requests: Number(e.target.value) })} />}
        </Field>
      </div>
      {start.error ? <ErrorBox error={start.error} /> : null}
      <Actions>
        <Button onClick={onCancel}>{t("common.cancel")}</Button>
        <Button kind="primary" type="submit" disabled={start.isPending}>{t("rc.ro.start")}</Button>
      </Actions>
    </form>
  );
}
