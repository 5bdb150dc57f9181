import { useQuery } from "@tanstack/react-query";
import { Link, useLocation } from "wouter";
import { hasEnded, isOperator } from "../api/adaptation";
import { get, type Page, type Schemas } from "../api/client";
import { readRecipes, type Recipe } from "../api/recipe";
import { useFormat } from "../app/format";
import { useI18n, type MessageKey } from "../app/i18n";
import { useSession } from "../app/session";
import { Button } from "../components/controls";
import { Empty, ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, PageHead, Panel } from "../components/layout";
import css from "./Matrix.module.css";

type Row = { chip: string; name: string; cards: number; simulated: boolean };
/** `running`: names of the recipes of what is ready there; that of a signed one begins its id. */
type Known = { recipes: Recipe[]; running: string[]; underway: Schemas["Adaptation"] | undefined };

const list = <T,>(path: string) => () => get<Page<T>>(path, { limit: 500 });

/** What runs on which chip, how well, and what proves it. */
export function Matrix() {
  const { t } = useI18n();
  const cards = useQuery({ queryKey: ["/cards"], queryFn: list<Schemas["Card"]>("/cards"), refetchInterval: 5000 });
  const models = useQuery({ queryKey: ["models-all"], queryFn: list<Schemas["Model"]>("/models") });
  const recipes = useQuery({ queryKey: ["recipes"], queryFn: readRecipes, refetchInterval: 10_000 });
  // Of the caller's own projects; who has none sees the rest all the same.
  const replicas = useQuery({ queryKey: ["replicas-all"], queryFn: list<Schemas["Replica"]>("/replicas"), refetchInterval: 5000 });
  const adaptations = useQuery({ queryKey: ["adaptations"], queryFn: list<Schemas["Adaptation"]>("/adaptations"), refetchInterval: 5000 });
  const error = [cards, models, recipes, adaptations].find((one) => one.error)?.error;
  const ready = cards.data && models.data && recipes.data && adaptations.data;
  return (
    <div className={grid.stack}>
      <PageHead title={t("mx.title")} />
      {error ? <ErrorBox error={error} /> : null}
      {!ready ? (error ? null : <Skeleton lines={6} />) : (
        <Panel title={t("mx.lead")} cli="yunhe recipe list">
          <Grid
            rows={rowsOf(cards.data.data)}
            models={[...new Set([...models.data.data.filter((one) => one.sha256 !== null).map((one) => one.name), ...recipes.data.data.map((one) => one.model)])]}
            known={(chip, model) => ({
              recipes: recipes.data.data.filter((one) => one.chip === chip && one.model === model && one.revoked_at === null),
              running: (replicas.data?.data ?? []).filter((one) => one.chip === chip && one.model === model && one.state === "ready").map((one) => one.recipe),
              underway: adaptations.data.data.find((one) => one.chip === chip && one.model === model && !hasEnded(one.state)),
            })}
          />
        </Panel>
      )}
    </div>
  );
}

function rowsOf(cards: Schemas["Card"][]): Row[] {
  const found = new Map<string, Row>();
  for (const card of cards) {
    const row = found.get(card.chip) ?? { chip: card.chip, name: card.model_name, cards: 0, simulated: card.simulated };
    found.set(card.chip, { ...row, cards: row.cards + 1, simulated: row.simulated && card.simulated });
  }
  return [...found.values()].sort((a, b) => Number(a.simulated) - Number(b.simulated) || a.name.localeCompare(b.name));
}

function Grid({ rows, models, known }: { rows: Row[]; models: string[]; known: (chip: string, model: string) => Known }) {
  const { t } = useI18n();
  if (rows.length === 0 || models.length === 0) return <Empty text={t("mx.norows")} />;
  return (
    <div className={grid.scroll} tabIndex={0} role="region" aria-label={t("mx.title")}>
      <table className={css.table}>
        <caption className="visually-hidden">{t("mx.title")}</caption>
        <thead>
          <tr>
            <th scope="col">{t("mx.chip")}</th>
            {models.map((model) => <th key={model} scope="col">{model}</th>)}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.chip}>
              <th scope="row">
                {row.name} {row.simulated ? <span className={grid.chip}>{t("pool.simulated")}</span> : null}
                <div className={grid.muted}><code>{row.chip}</code></div>
                <div className={grid.muted}>{row.cards === 1 ? t("mx.card") : t("mx.cards", { n: row.cards })}</div>
              </th>
              {models.map((model) => <td key={model}><Cell chip={row.chip} model={model} known={known(row.chip, model)} /></td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The recipe with the highest gain under its own first load. */
function best(recipes: Recipe[]): Recipe | undefined {
  const passed = recipes.filter((one) => one.fidelity.verdict === "passed");
  return [...(passed.length ? passed : recipes)].sort((a, b) => (b.gains[0]?.ratio.value ?? 0) - (a.gains[0]?.ratio.value ?? 0))[0];
}

function Cell({ chip, model, known }: { chip: string; model: string; known: Known }) {
  const { t } = useI18n();
  const f = useFormat();
  const recipe = best(known.recipes);
  if (recipe === undefined) return <Untuned chip={chip} model={model} known={known} />;
  const ratio = recipe.gains[0]?.ratio;
  const { verdict } = recipe.fidelity;
  const proven = known.running.some((name) => name.startsWith("rcp_") && known.recipes.some((one) => one.id.startsWith(name)));
  const told = t(`ad.gate.${verdict}` as MessageKey);
  return (
    <Link className={`${css.cell} ${css.tuned}`} href={`/recipes/${recipe.id}`}>
      <span className="visually-hidden">{t("mx.openthis", { model, chip })}</span>
      <span className={css.word}>{proven ? "● " : ""}{t(proven ? "mx.runs" : known.running.length ? "mx.kept" : "mx.tuned")}</span>
      <span className={css.gain}>{f.times(ratio?.value)} {ratio?.low != null && ratio.high != null ? <small>[{f.rate(ratio.low)} – {f.rate(ratio.high)}]</small> : null}</span>
      <span>{t("rc.gate")}: {told} · KL {recipe.fidelity.kl_nats.value.toFixed(4)}</span>
      <span>{recipe.engine}{known.recipes.length > 1 ? ` · ${t("mx.more", { n: known.recipes.length })}` : ""}</span>
      {known.underway ? <span>{t("mx.underway")}</span> : null}
    </Link>
  );
}

function Untuned({ chip, model, known }: { chip: string; model: string; known: Known }) {
  const { t } = useI18n();
  const { me } = useSession();
  const [, go] = useLocation();
  return (
    <div className={`${css.cell} ${css.none}`}>
      {known.underway ? <Link href={`/adaptations/${known.underway.id}`}><StateBadge state={known.underway.state} label={t("mx.underway")} /></Link> : known.running.length ? <StateBadge state="ready" label={t("mx.works")} /> : <span>{t("mx.not")}</span>}
      {!known.underway && isOperator(me) ? (
        <Button small className={css.foot ?? ""} aria-label={t("mx.adaptthis", { model, chip })} onClick={() => go(`/adaptations?new=1&model=${encodeURIComponent(model)}&chip=${encodeURIComponent(chip)}`)}>{t("mx.adapt")}</Button>
      ) : null}
    </div>
  );
}
