import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "wouter";
import { readRecipes, shortId, type Recipe } from "../api/recipe";
import { useFormat } from "../app/format";
import { useI18n, type MessageKey } from "../app/i18n";
import { RatioText } from "../components/adaptation/figures";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel, Table } from "../components/layout";
import css from "../components/adaptation/adaptation.module.css";

export function Recipes() {
  const { t } = useI18n();
  const [search, setSearch] = useSearchParams();
  const list = useQuery({ queryKey: ["recipes"], queryFn: readRecipes, refetchInterval: 10_000 });
  const all = list.data?.data ?? [];
  const [model, chip] = [search.get("model") ?? "", search.get("chip") ?? ""];
  const set = (change: Record<string, string>) => setSearch(Object.fromEntries(Object.entries({ model, chip, ...change }).filter(([, value]) => value)));
  const rows = all.filter((one) => (!model || one.model === model) && (!chip || one.chip === chip));
  const names = (pick: (one: Recipe) => string) => [...new Set(all.map(pick))].sort();
  return (
    <div className={grid.stack}>
      <PageHead title={t("rc.title")}>
        <select className={grid.select} aria-label={t("common.model")} value={model} onChange={(event) => set({ model: event.target.value })}>
          <option value="">{t("rc.allmodels")}</option>
          {names((one) => one.model).map((name) => <option key={name}>{name}</option>)}
        </select>
        <select className={grid.select} aria-label={t("pool.chip")} value={chip} onChange={(event) => set({ chip: event.target.value })}>
          <option value="">{t("rc.allchips")}</option>
          {names((one) => one.chip).map((name) => <option key={name}>{name}</option>)}
        </select>
      </PageHead>
      {list.error ? <ErrorBox error={list.error} onRetry={() => void list.refetch()} /> : null}
      <Panel title={t("rc.title")} cli={`yunhe recipe list${model ? ` --model ${model}` : ""}${chip ? ` --chip ${chip}` : ""}`}>
        {!list.data ? <Skeleton /> : all.length === 0 ? <Empty text={t("rc.empty")} /> : rows.length === 0 ? <Empty text={t("rc.none")} /> : <List rows={rows} />}
      </Panel>
    </div>
  );
}

function List({ rows }: { rows: Recipe[] }) {
  const { t } = useI18n();
  const f = useFormat();
  return (
    <Table
      caption={t("rc.title")}
      rows={rows}
      id={(one) => one.id}
      columns={[
        { head: t("common.model"), cell: (one) => <><Link className={grid.line} href={`/recipes/${one.id}`}><strong>{one.model}</strong></Link><div className={grid.muted}><code>{shortId(one.id)}</code></div></> },
        { head: t("rc.where"), cell: (one) => <><code>{one.chip}</code><div className={grid.muted}>{one.engine} {one.engine_version}</div></> },
        { head: t("rc.workload"), wide: true, cell: (one) => <span className={grid.muted}>{one.workload}</span> },
        { head: t("rc.gain"), number: true, cell: (one) => <RatioText ratio={one.gains[0]?.ratio ?? null} /> },
        { head: t("rc.gate"), cell: (one) => <><StateBadge state={one.fidelity.verdict} label={t(`ad.gate.${one.fidelity.verdict}` as MessageKey)} /><div className={css.interval}>KL {one.fidelity.kl_nats.value.toFixed(4)} · {f.share(one.fidelity.top1_share.value)}</div></> },
        { head: t("rc.made"), cell: (one) => <><time dateTime={one.made_at} title={f.when(one.made_at)}>{f.ago(one.made_at)}</time><div className={grid.muted}>{one.revoked_at ? <StateBadge state="revoked" label={t("rc.revoked")} /> : t(`rc.origin.${one.origin}`)}</div></> },
      ]}
    />
  );
}
