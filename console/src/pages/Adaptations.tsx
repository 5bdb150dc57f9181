import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "wouter";
import { hasEnded, isOperator } from "../api/adaptation";
import { get, type Page, type Schemas } from "../api/client";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { useSession } from "../app/session";
import { Budget, RatioText } from "../components/adaptation/figures";
import { Button, Dialog } from "../components/controls";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel, Table } from "../components/layout";
import { NewAdaptation } from "./NewAdaptation";

type Adaptation = Schemas["Adaptation"];

export function Adaptations() {
  const { t } = useI18n();
  const { me } = useSession();
  const [search, setSearch] = useSearchParams();
  const list = useQuery({ queryKey: ["adaptations"], queryFn: () => get<Page<Adaptation>>("/adaptations", { limit: 200 }), refetchInterval: 4000 });
  const operator = isOperator(me);
  return (
    <div className={grid.stack}>
      <PageHead title={t("ad.title")}>
        {operator ? <Button kind="primary" onClick={() => setSearch({ new: "1" })}>{t("ad.new")}</Button> : null}
      </PageHead>
      {list.error ? <ErrorBox error={list.error} onRetry={() => void list.refetch()} /> : null}
      <Panel title={t("ad.title")} cli="yunhe adaptation list">
        {!list.data ? <Skeleton /> : list.data.data.length === 0 ? <Empty text={t("ad.empty")} /> : <List rows={list.data.data} />}
      </Panel>
      <Dialog title={t("ad.new")} open={operator && search.get("new") !== null} onClose={() => setSearch({})}>
        <NewAdaptation model={search.get("model") ?? ""} chip={search.get("chip") ?? ""} onCancel={() => setSearch({})} />
      </Dialog>
    </div>
  );
}

function List({ rows }: { rows: Adaptation[] }) {
  const { t } = useI18n();
  const f = useFormat();
  const recipes = useQuery({ queryKey: ["recipes"], queryFn: () => get<Page<Schemas["Recipe"]>>("/recipes", { limit: 500 }), enabled: rows.some((one) => one.recipe_id !== null) });
  const gains = new Map(recipes.data?.data.map((one) => [one.id, one.gains[0]?.ratio ?? null]));
  return (
    <Table
      caption={t("ad.title")}
      rows={rows}
      id={(one) => one.id}
      columns={[
        { head: t("common.model"), cell: (one) => <><Link className={grid.line} href={`/adaptations/${one.id}`}><strong>{one.model}</strong></Link><div className={grid.muted}>{one.spec.workload.name} · {one.spec.use_class}</div></> },
        { head: t("dep.centre"), cell: (one) => <>{one.centre}<div className={grid.muted}><code>{one.chip}</code></div></> },
        { head: t("common.state"), wide: true, cell: (one) => <><StateBadge state={one.cancel_asked && !hasEnded(one.state) ? "stopping" : one.state} /><div className={grid.muted}>{one.activity}</div></> },
        { head: t("ad.gain"), number: true, cell: (one) => <RatioText ratio={one.recipe_id ? (gains.get(one.recipe_id) ?? null) : null} /> },
        { head: t("ad.used"), cell: (one) => <Budget small used={one.used_s} whole={one.spec.duration_s} /> },
        { head: t("common.created"), cell: (one) => <time dateTime={one.created_at} title={f.when(one.created_at)}>{f.ago(one.created_at)}</time> },
      ]}
    />
  );
}
