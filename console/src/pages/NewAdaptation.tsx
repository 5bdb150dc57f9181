import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { get, post, type Page, type Schemas } from "../api/client";
import { useI18n } from "../app/i18n";
import { Actions, Button, Field } from "../components/controls";
import { Empty, ErrorBox, Skeleton } from "../components/feedback";
import { grid } from "../components/layout";

const WORKLOADS = ["decode", "chat", "prefill"] as const;
const USE_CLASSES = ["chat", "code", "exact"] as const;
type Form = { model: string; centre: string; chip: string; workload: (typeof WORKLOADS)[number]; use: (typeof USE_CLASSES)[number]; minutes: number };

/** Orders an adaptation, and opens it. */
export function NewAdaptation({ model, chip, onCancel }: { model: string; chip: string; onCancel: () => void }) {
  const { t } = useI18n();
  const client = useQueryClient();
  const [, go] = useLocation();
  const models = useQuery({ queryKey: ["models-all"], queryFn: () => get<Page<Schemas["Model"]>>("/models", { limit: 500 }) });
  const centres = useQuery({ queryKey: ["/centres"], queryFn: () => get<Page<Schemas["Centre"]>>("/centres", { limit: 500 }) });
  const cards = useQuery({ queryKey: ["/cards"], queryFn: () => get<Page<Schemas["Card"]>>("/cards", { limit: 500 }) });
  const [form, setForm] = useState<Form>({ model, centre: "", chip, workload: "decode", use: "chat", minutes: 14 });
  const set = (change: Partial<Form>) => setForm({ ...form, ...change });
  const create = useMutation({
    mutationFn: (body: Record<string, unknown>) => post<Schemas["Adaptation"]>("/adaptations", body),
    onSuccess: (made) => {
      void client.invalidateQueries({ queryKey: ["adaptations"] });
      go(`/adaptations/${made.id}`);
    },
  });
  if (!models.data || !centres.data || !cards.data) {
    const error = models.error ?? centres.error ?? cards.error;
    return error ? <ErrorBox error={error} /> : <Skeleton />;
  }
  const known = models.data.data.filter((one) => one.sha256 !== null);
  const holds = (name: string) => form.chip === "" || cards.data.data.some((card) => card.centre === name && card.chip === form.chip);
  const places = centres.data.data.filter((one) => one.state === "online" && one.cards > 0);
  if (places.length === 0) return <Empty text={t("ad.form.nocentre")} />;
  const chosen = known.find((one) => one.name === form.model)?.name ?? known[0]?.name ?? "";
  const centre = form.centre || places.find((one) => holds(one.name))?.name || places[0]!.name;
  const chips = [...new Set(cards.data.data.filter((card) => card.centre === centre).map((card) => card.chip))];
  const at = chips.includes(form.chip) ? form.chip : "";
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate({ model: chosen, centre, workload: form.workload, use_class: form.use, duration_s: form.minutes * 60, ...(at ? { chip: at } : {}) });
      }}
    >
      {chip !== "" && !places.some((one) => cards.data.data.some((card) => card.centre === one.name && card.chip === chip)) ? <p className={grid.muted}>{t("ad.form.nochip", { chip })}</p> : null}
      <Field label={t("ad.form.model")}>
        {(id) => <select id={id} value={chosen} onChange={(e) => set({ model: e.target.value })}>{known.map((one) => <option key={one.name}>{one.name}</option>)}</select>}
      </Field>
      <div className={grid.form}>
        <Field label={t("ad.form.centre")}>
          {(id) => <select id={id} value={centre} onChange={(e) => set({ centre: e.target.value })}>{places.map((one) => <option key={one.id}>{one.name}</option>)}</select>}
        </Field>
        <Field label={t("ad.form.chip")}>
          {(id) => <select id={id} value={at} onChange={(e) => set({ chip: e.target.value })}><option value="">{t("ad.form.anychip")}</option>{chips.map((one) => <option key={one}>{one}</option>)}</select>}
        </Field>
      </div>
      <Field label={t("ad.form.workload")}>
        {(id) => <select id={id} value={form.workload} onChange={(e) => set({ workload: e.target.value as Form["workload"] })}>{WORKLOADS.map((one) => <option key={one} value={one}>{t(`ad.form.workload.${one}`)}</option>)}</select>}
      </Field>
      <Field label={t("ad.form.use")} hint={t("ad.form.usehint")}>
        {(id) => <select id={id} value={form.use} onChange={(e) => set({ use: e.target.value as Form["use"] })}>{USE_CLASSES.map((one) => <option key={one} value={one}>{t(`ad.form.use.${one}`)}</option>)}</select>}
      </Field>
      <Field label={t("ad.form.budget")} hint={t("ad.form.budgethint")}>
        {(id) => <input id={id} type="number" required min={0.5} max={10080} step={0.5} value={form.minutes} onChange={(e) => set({ minutes: Number(e.target.value) })} />}
      </Field>
      {create.error ? <ErrorBox error={create.error} /> : null}
      <Actions>
        <Button onClick={onCancel}>{t("common.cancel")}</Button>
        <Button kind="primary" type="submit" disabled={create.isPending || !chosen}>{t("ad.start")}</Button>
      </Actions>
    </form>
  );
}
