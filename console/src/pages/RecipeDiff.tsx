import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useSearchParams } from "wouter";
import { get, type Schemas } from "../api/client";
import { readRecipes, shortId, type Recipe } from "../api/recipe";
import { useFormat } from "../app/format";
import { useI18n } from "../app/i18n";
import { Empty, ErrorBox, Skeleton } from "../components/feedback";
import { grid, PageHead, Panel, Table } from "../components/layout";
import css from "../components/adaptation/adaptation.module.css";

type Change = Schemas["Change"];
/** Parts that differ between any two recipes, because they were measured: shown when asked for. */
const PROOFS = /^(measurements|fidelity|baseline|prediction|made_|reproductions)/;

const shown = (value: unknown) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : JSON.stringify(value));

/** What stands behind the change, when it is a number: how much it went up or down. */
function delta(change: Change): string {
  const [left, right] = [change.left, change.right];
  if (typeof left !== "number" || typeof right !== "number" || left === 0) return "";
  const share = (100 * (right - left)) / Math.abs(left);
  return `${share > 0 ? "+" : ""}${share.toFixed(Math.abs(share) < 10 ? 1 : 0)} %`;
}

export function RecipeDiff() {
  const { t } = useI18n();
  const [search, setSearch] = useSearchParams();
  const [a, b] = [search.get("a") ?? "", search.get("b") ?? ""];
  const [all, setAll] = useState(false);
  const recipes = useQuery({ queryKey: ["recipes"], queryFn: readRecipes });
  const diff = useQuery({ queryKey: ["recipe-diff", a, b], queryFn: () => get<Schemas["RecipeDiff"]>("/recipes/diff", { a, b }), enabled: a !== "" && b !== "" });
  const changes = diff.data?.changes ?? [];
  const rows = all ? changes : changes.filter((one) => !PROOFS.test(one.path));
  return (
    <div className={grid.stack}>
      <Link href="/recipes" className={css.back}>← {t("rc.title")}</Link>
      <PageHead title={t("rc.diff")} />
      <div className={grid.two}>
        <Side name="A" id={a} recipes={recipes.data?.data ?? []} onChoose={(id) => setSearch({ a: id, b })} />
        <Side name="B" id={b} recipes={recipes.data?.data ?? []} onChoose={(id) => setSearch({ a, b: id })} />
      </div>
      {diff.error ? <ErrorBox error={diff.error} onRetry={() => void diff.refetch()} /> : null}
      {a && b ? (
        <Panel
          title={t("rc.diff.count", { shown: rows.length, n: changes.length })}
          cli={`yunhe recipe diff ${shortId(a)} ${shortId(b)}`}
          actions={<label className={grid.row}><input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} /> <span className={grid.muted}>{t("rc.diff.all")}</span></label>}
        >
          {!diff.data ? (diff.error ? null : <Skeleton />) : rows.length === 0 ? <Empty text={t("rc.diff.same")} /> : (
            <Table
              caption={t("rc.diff")}
              rows={rows}
              id={(one) => one.path}
              columns={[
                { head: t("rc.diff.field"), wide: true, cell: (one) => <code>{one.path}</code> },
                { head: "A", wide: true, cell: (one) => (one.kind === "added" ? "–" : <span className={grid.muted}>{shown(one.left)}</span>) },
                { head: "B", wide: true, cell: (one) => (one.kind === "removed" ? "–" : <strong>{shown(one.right)}</strong>) },
                { head: "Δ", number: true, cell: (one) => (one.kind === "changed" ? delta(one) : t(`rc.diff.${one.kind}`)) },
              ]}
            />
          )}
        </Panel>
      ) : null}
    </div>
  );
}

function Side({ name, id, recipes, onChoose }: { name: string; id: string; recipes: Recipe[]; onChoose: (id: string) => void }) {
  const { t } = useI18n();
  const f = useFormat();
  const one = recipes.find((recipe) => recipe.id === id);
  return (
    <Panel title={name}>
      <select className={`${grid.select} ${css.wide}`} aria-label={`${t("rc.one")} ${name}`} value={one ? id : ""} onChange={(event) => onChoose(event.target.value)}>
        <option value="" disabled>{t("rc.comparechoose")}</option>
        {recipes.map((recipe) => <option key={recipe.id} value={recipe.id}>{recipe.model} · {recipe.chip} · {recipe.engine} · {shortId(recipe.id)}</option>)}
      </select>
      {one ? <p className={grid.muted}><Link href={`/recipes/${one.id}`}>{one.model}</Link> · {one.engine} {one.engine_version} · {t("rc.gain")} {f.times(one.gains[0]?.ratio.value)} · {f.when(one.made_at)}</p> : null}
    </Panel>
  );
}
