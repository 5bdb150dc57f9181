import { useQuery } from "@tanstack/react-query";
import { get, type Page, type Schemas } from "../../api/client";
import { verdictOf, type Measured, type RecipeDetail } from "../../api/recipe";
import { useFormat } from "../../app/format";
import { useI18n, type MessageKey } from "../../app/i18n";
import { Chips } from "../adaptation/sections";
import { Forest, loadName, RatioText, reachOf } from "../adaptation/figures";
import { CopyButton } from "../controls";
import { Empty, StateBadge } from "../feedback";
import { grid, Panel, Table } from "../layout";
import css from "../adaptation/adaptation.module.css";

/** Recipe over baseline for each load, with the intervals. */
export function Gains({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const reach = reachOf(recipe.gains.map((one) => one.ratio));
  const loads = recipe.document.baseline?.gains.map((one) => loadName(t, one.load)) ?? [];
  const rows = recipe.gains.map((one, index) => ({ one, load: loads[index] ?? one.load, first: recipe.gains[index - 1]?.load !== one.load }));
  return (
    <Panel title={t("rc.gains")}>
      {rows.length === 0 ? <Empty text={t("rc.nogains")} /> : (
        <>
          <p className={css.note}>{t("rc.gainslead")}</p>
          <Table
            caption={t("rc.gains")}
            rows={rows}
            id={({ one }) => one.load + one.metric}
            columns={[
              { head: t("ad.load"), cell: ({ load, first }) => (first ? <strong>{load}</strong> : <span className="visually-hidden">{load}</span>) },
              { head: t("ad.metric"), cell: ({ one }) => <>{t(`rc.metric.${one.metric}` as MessageKey)} <span aria-hidden="true">{one.metric.endsWith("_per_s") ? "↑" : "↓"}</span></> },
              { head: t("ad.ratio"), number: true, cell: ({ one }) => <span className={css.ratioCell}><Forest ratio={one.ratio} reach={reach} good={verdictOf(one.metric, one.ratio)} /><RatioText ratio={one.ratio} /></span> },
              { head: t("rc.pairs"), number: true, cell: ({ one }) => one.pairs },
              { head: t("ad.verdict"), cell: ({ one }) => { const good = verdictOf(one.metric, one.ratio); return <StateBadge state={good === null ? "unmeasured" : good ? "better" : "worse"} label={t(good === null ? (one.ratio.low === null ? "ad.outcome.undecided" : "ad.outcome.refused_to_rank") : good ? "ad.outcome.better" : "ad.outcome.worse")} />; } },
            ]}
          />
        </>
      )}
    </Panel>
  );
}

function Figure({ one, show }: { one: Measured; show: (value: number) => string }) {
  return <>{show(one.value)}{one.interval ? <span className={css.interval}> [{show(one.interval.low)} – {show(one.interval.high)}]</span> : null}</>;
}

/** What the gate found, and what it did not look at. */
export function Certificate({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const f = useFormat();
  const proof = recipe.document.fidelity;
  return (
    <Panel title={t("rc.certificate")} actions={<StateBadge state={proof.verdict} label={t(`ad.gate.${proof.verdict}` as MessageKey)} />}>
      <dl className={css.facts}>
        <dt>{t("rc.useclass")}</dt>
        <dd>{proof.use_class}</dd>
        <dt>{t("rc.reference")}</dt>
        <dd>{proof.reference.name} {proof.reference.precision} <code title={proof.reference.digest}>{proof.reference.digest.slice(0, 12)}…</code></dd>
        <dt>{t("ad.kl_nats")}</dt>
        <dd><Figure one={proof.kl_nats} show={(value) => value.toFixed(4)} /></dd>
        <dt>{t("ad.top1_share")}</dt>
        <dd><Figure one={proof.top1_share} show={f.share} /></dd>
        <dt>{t("ad.perplexity_ratio")}</dt>
        <dd><Figure one={proof.perplexity_ratio} show={(value) => value.toFixed(3)} /></dd>
        {proof.greedy_agreement_tokens ? <><dt>{t("ad.greedy_agreement_tokens")}</dt><dd><Figure one={proof.greedy_agreement_tokens} show={(value) => value.toFixed(1)} /></dd></> : null}
        {proof.task ? <><dt>{t("ad.task")}</dt><dd>{proof.task.candidate_correct} / {proof.task.items} · {t("ad.reference", { n: proof.task.reference_correct })}</dd></> : null}
        <dt>{t("common.reason")}</dt>
        <dd>{proof.reasons.map((one) => <div key={one}>{one}</div>)}<div className={grid.muted}>{t("rc.positions", { positions: f.whole(proof.positions), texts: Object.keys(proof.text_digests).length })}</div></dd>
        {proof.unmeasured.length ? <><dt>{t("rc.unmeasured")}</dt><dd>{proof.unmeasured.join(", ").replaceAll("_", " ")}</dd></> : null}
      </dl>
    </Panel>
  );
}

/** An argument as a POSIX shell takes it. */
const quoted = (text: string) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** One option with its value a line. */
function lines(argv: string[]): string {
  return argv.map((text, index) => (index === 0 ? "" : text.startsWith("-") ? "\n  " : " ") + quoted(text)).join("");
}

/** The exact command, and the settings that it comes from. */
export function Command({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const { engine, settings } = recipe.document;
  const env = Object.entries(engine.env).map(([name, value]) => `${name}=${quoted(value)}`);
  return (
    <Panel title={t("rc.command")} actions={<CopyButton text={[...env, ...engine.argv.map(quoted)].join(" ")} />}>
      <pre className={css.code} tabIndex={0} aria-label={t("rc.argv")} data-testid="argv">{[...env, lines(engine.argv)].join("\n")}</pre>
      <dl className={`${css.facts} ${css.more}`}>
        <dt>{t("rc.settings")}</dt>
        <dd><Chips settings={settings} /></dd>
        <dt>{t("rc.build")}</dt>
        <dd>{engine.build.name} {engine.build.version} <code title={engine.build.build_digest}>{engine.build.build_digest.slice(0, 12)}…</code></dd>
      </dl>
    </Panel>
  );
}

/** Who answers for it. */
export function Signature({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const f = useFormat();
  const keys = useQuery({ queryKey: ["recipe-keys"], queryFn: () => get<Page<Schemas["TrustedKey"]>>("/recipe-keys", { limit: 500 }) });
  const key = keys.data?.data.find((one) => one.key_id === recipe.key_id);
  return (
    <Panel title={t("rc.signature")} actions={<StateBadge state={recipe.verdict.accepted ? "believed" : "refused"} label={t(recipe.verdict.accepted ? "rc.believed" : "rc.refusedstate")} />}>
      <dl className={css.facts}>
        <dt>{t("rc.id")}</dt>
        <dd><code>{recipe.id}</code></dd>
        <dt>{t("rc.key")}</dt>
        <dd>{key ? (key.own ? t("rc.ownkey") : key.name) : (recipe.verdict.signed_by ?? (keys.data ? t("rc.nokey") : "…"))}<div className={grid.muted}><code>{recipe.key_id}</code></div></dd>
        <dt>{t("common.reason")}</dt>
        <dd>{recipe.verdict.reason}</dd>
        <dt>{t("rc.madeby")}</dt>
        <dd>{recipe.made_by} · <time dateTime={recipe.made_at}>{f.when(recipe.made_at)}</time></dd>
      </dl>
    </Panel>
  );
}

const OUTCOMES: Record<string, [string, MessageKey]> = { applies: ["applies", "rc.applies"], "needs force": ["waiting", "rc.needsforce"], never: ["stopped", "rc.never"] };

/** The weightiest first; digests are cut to what tells them apart. */
function Reasons({ list }: { list: string[] }) {
  const { t } = useI18n();
  const short = list.map((one) => one.replaceAll(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, "$1…"));
  if (short.length <= 1) return <div className={grid.muted}>{short[0] ?? ""}</div>;
  return (
    <details>
      <summary className={grid.muted}>{short[0]} <span>{t("rc.morereasons", { n: short.length - 1 })}</span></summary>
      <ul className={css.reasons}>{short.slice(1).map((one) => <li key={one}>{one}</li>)}</ul>
    </details>
  );
}

export function Places({ recipe }: { recipe: RecipeDetail }) {
  const { t } = useI18n();
  const order = Object.keys(OUTCOMES);
  const rows = [...recipe.places].sort((a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome));
  return (
    <Panel title={t("rc.places")}>
      {rows.length === 0 ? <Empty text={t("rc.noplaces")} /> : (
        <Table
          caption={t("rc.places")}
          rows={rows}
          id={(one) => one.centre + one.node + one.chip}
          columns={[
            { head: t("dep.centre"), cell: (one) => <>{one.centre}<div className={grid.muted}>{one.node} · <code>{one.chip}</code></div></> },
            { head: t("common.state"), wide: true, cell: (one) => { const [state, key] = OUTCOMES[one.outcome] ?? ["unknown", "rc.never"]; return <><StateBadge state={state} label={t(key)} /><Reasons list={one.reasons} /></>; } },
          ]}
        />
      )}
    </Panel>
  );
}
