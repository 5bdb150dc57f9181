import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { get, type Page, type Schemas } from "../api/client";
import { readRecipe, readRecipes, shortId, type RecipeDetail } from "../api/recipe";
import { useFormat } from "../app/format";
import { useI18n, type MessageKey } from "../app/i18n";
import { loadName } from "../components/adaptation/figures";
import { Certificate, Command, Gains, Places, Signature } from "../components/recipe/sections";
import { RollOut } from "../components/recipe/RollOut";
import { Button, CopyButton, Dialog } from "../components/controls";
import { ErrorBox, Skeleton, StateBadge } from "../components/feedback";
import { grid, Panel, Stat } from "../components/layout";
import css from "../components/adaptation/adaptation.module.css";

/** One signed recipe: what it is worth, how it is started, who answers for it. */
export function RecipeDetails({ id }: { id: string }) {
  const { t } = useI18n();
  const found = useQuery({ queryKey: ["recipe", id], queryFn: () => readRecipe(id), refetchInterval: 10_000 });
  const cards = useQuery({ queryKey: ["/cards"], queryFn: () => get<Page<Schemas["Card"]>>("/cards", { limit: 500 }) });
  if (!found.data) return found.error ? <ErrorBox error={found.error} onRetry={() => void found.refetch()} /> : <Skeleton lines={8} />;
  const recipe = found.data;
  const same = cards.data?.data.filter((card) => card.chip === recipe.chip) ?? [];
  return (
    <div className={grid.stack}>
      <Head recipe={recipe} />
      {same.length > 0 && same.every((card) => card.simulated) ? <p className={css.banner}>{t("ad.simulated")}</p> : null}
      <Tiles recipe={recipe} />
      <Gains recipe={recipe} />
      <div className={css.lead}>
        <div className={css.column}>
          <Certificate recipe={recipe} />
          <Command recipe={recipe} />
        </div>
        <div className={css.column}>
          <What recipe={recipe} />
          <Signature recipe={recipe} />
        </div>
      </div>
      <Places recipe={recipe} />
    </div>
  );
}

function Head({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const f = useFormat();
  const [, go] = useLocation();
  const [rolling, setRolling] = useState(false);
  const others = useQuery({ queryKey: ["recipes"], queryFn: readRecipes });
  const rest = (others.data?.data ?? []).filter((one) => one.id !== recipe.id).sort((a, b) => Number(b.model === recipe.model) - Number(a.model === recipe.model));
  const state = recipe.revoked_at ? "revoked" : recipe.verdict.accepted ? "believed" : "refused";
  return (
    <>
      <div className={grid.head}>
        <div className={css.titles}>
          <Link href="/recipes" className={css.back}>← {t("rc.title")}</Link>
          <div className={grid.row}>
            <h1>{recipe.model}</h1>
            <StateBadge state={state} label={t(state === "refused" ? "rc.refusedstate" : state === "revoked" ? "rc.revoked" : "rc.believed")} />
            <span className={grid.chip}>{t(`rc.origin.${recipe.origin}`)}</span>
          </div>
          <span className={grid.muted}>{recipe.document.chip.model_name} · {recipe.engine} {recipe.engine_version}</span>
        </div>
        <div className={grid.headActions}>
          {rest.length ? (
            <select className={`${grid.select} ${css.narrow}`} aria-label={t("rc.compare")} value="" onChange={(event) => go(`/recipes/diff?a=${recipe.id}&b=${event.target.value}`)}>
              <option value="" disabled>{t("rc.compare")}…</option>
              {rest.map((one) => <option key={one.id} value={one.id}>{one.model} · {one.engine} · {shortId(one.id)}</option>)}
            </select>
          ) : null}
          <CopyButton small={false} text={`yunhe recipe show ${recipe.id}`} label={t("common.copycli")} />
          <a className={css.buttonLink} href={`/api/v1/recipes/${recipe.id}/envelope`} download={`${recipe.id}.json`}>{t("rc.export")} ↓</a>
          <Button kind="primary" disabled={!recipe.verdict.accepted} onClick={() => setRolling(true)}>{t("rc.rollout")}</Button>
        </div>
      </div>
      {recipe.verdict.accepted ? null : (
        <div className={css.banner} role="alert">
          <p>{recipe.revoked_at ? t("rc.revokedat", { when: f.when(recipe.revoked_at), why: recipe.revoked_why ?? "" }) : recipe.verdict.reason}</p>
          {recipe.verdict.next_step ? <p>→ {recipe.verdict.next_step}</p> : null}
        </div>
      )}
      <Dialog title={`${t("rc.rollout")} · ${recipe.model}`} open={rolling} onClose={() => setRolling(false)}>
        <RollOut recipe={recipe} onCancel={() => setRolling(false)} />
      </Dialog>
    </>
  );
}

function Tiles({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const f = useFormat();
  const gain = recipe.gains[0];
  const first = recipe.document.measurements[0];
  const load = first ? loadName(t, first.load) : "";
  const ends = gain && gain.ratio.low !== null && gain.ratio.high !== null ? `${f.share(gain.ratio.confidence)} ${f.times(gain.ratio.low)} – ${f.times(gain.ratio.high)}` : undefined;
  const kl = recipe.fidelity.kl_nats;
  return (
    <div className={grid.stats}>
      <Stat label={gain ? `${t("rc.gain")} · ${t(`rc.metric.${gain.metric}` as MessageKey)}, ${load}` : t("rc.gain")} value={f.times(gain?.ratio.value)} {...(ends ? { detail: ends } : {})} />
      <Stat label={t("ad.metric.output_tokens_per_s")} value={f.rate(first?.output_tokens_per_s.value)} unit="tokens/s" detail={load} />
      <Stat label="TPOT p50" value={f.ms(first?.tpot_p50_s ? first.tpot_p50_s.value * 1000 : null)} detail={`TTFT p50 ${f.ms(first ? first.ttft_p50_s.value * 1000 : null)}`} />
      <Stat label={`${t("ad.fidelitytile")} · ${recipe.fidelity.use_class}`} value={t(`ad.gate.${recipe.fidelity.verdict}` as MessageKey)} detail={`KL ${kl.value.toFixed(4)} · top-1 ${f.share(recipe.fidelity.top1_share.value)}`} />
    </div>
  );
}

function What({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const { document } = recipe;
  const cut = Object.entries(document.parallelism).filter(([, count]) => count > 1).map(([name, count]) => `${name} ${count}`);
  return (
    <Panel title={t("rc.one")}>
      <dl className={css.facts}>
        <dt>{t("common.model")}</dt>
        <dd>{recipe.model}<div className={grid.muted}>{document.model.architecture} · {document.model.source}</div></dd>
        <dt>{t("rc.weights")}</dt>
        <dd><code title={document.model.digest}>{document.model.digest.slice(0, 16)}…</code>{document.model.quantisation ? <div className={grid.muted}>{document.model.quantisation.format} · {document.model.quantisation.tool} {document.model.quantisation.tool_version}</div> : null}</dd>
        <dt>{t("rc.cards")}</dt>
        <dd>{t("rc.cardscount", { n: document.chip.count, name: document.chip.model_name })}<div className={grid.muted}><code>{recipe.chip}</code>{cut.length ? ` · ${cut.join(", ")}` : ""}</div></dd>
        <dt>{t("rc.workload")}</dt>
        <dd>{recipe.workload}</dd>
        <dt>{t("ad.baseline")}</dt>
        <dd>{document.baseline?.description ?? "–"}</dd>
        {document.known_limits.length ? <><dt>{t("rc.limits")}</dt><dd>{document.known_limits.map((one) => <div key={one}>{one}</div>)}</dd></> : null}
      </dl>
    </Panel>
  );
}
