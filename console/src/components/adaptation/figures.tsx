import { useFormat, type Format } from "../../app/format";
import { useI18n, type MessageKey, type Translate } from "../../app/i18n";
import type { Ratio, Spread } from "../../api/adaptation";
import css from "./adaptation.module.css";

/** A metric's value in the unit that people read: seconds as ms or s, rates as they are. */
export function metricValue(f: Format, metric: string, value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  return metric.endsWith("_s") && !metric.endsWith("_per_s") ? f.ms(value * 1000) : f.rate(value);
}

export function loadName(t: Translate, load: { concurrency: number | null; requests_per_s: number | null }): string {
  return load.concurrency !== null ? t("ad.closed", { n: load.concurrency }) : t("ad.open", { n: load.requests_per_s ?? "–" });
}

export const metricName = (t: Translate, metric: string) => t(`ad.metric.${metric}` as MessageKey);

/** A median with what it is known to lie between. */
export function SpreadText({ spread, metric }: { spread: Spread | null; metric: string }) {
  const f = useFormat();
  if (spread === null) return <>–</>;
  const show = (value: number) => metricValue(f, metric, value);
  return (
    <>
      {show(spread.value)}
      {spread.basis === "single" ? null : (
        <div className={css.interval}>
          [{show(spread.low)} {spread.basis === "interval" ? "–" : "…"} {show(spread.high)}]
        </div>
      )}
    </>
  );
}

export type Interval = { value: number; low: number | null; high: number | null };

/** The widest of some ratios, as the reach of a picture: ``log(reach)`` to both sides of 1. */
export function reachOf(ratios: (Interval | null)[]): number {
  const ends = ratios.flatMap((one) => (one === null ? [] : [one.value, one.low ?? one.value, one.high ?? one.value]));
  return Math.min(64, Math.max(1.2, ...ends.filter((end) => end > 0).map((end) => Math.max(end, 1 / end)))) ** 1.06;
}

/** A ratio and its interval on a logarithmic scale; the line is 1. */
export function Forest({ ratio, reach, good }: { ratio: Interval; reach: number; good: boolean | null }) {
  const at = (value: number) => 64 + 62 * Math.max(-1, Math.min(1, Math.log(Math.max(value, 1e-9)) / Math.log(reach)));
  const colour = good === null ? "var(--ink-2)" : good ? "var(--ok)" : "var(--bad)";
  return (
    <svg className={css.forest} viewBox="0 0 128 16" aria-hidden="true">
      <path d="M2 8H126" stroke="var(--line)" />
      <path d="M64 1V15" stroke="var(--ink-2)" strokeWidth="1.2" />
      {ratio.low !== null && ratio.high !== null ? <path d={`M${at(ratio.low)} 8H${at(ratio.high)}`} stroke={colour} strokeWidth="5" opacity="0.4" strokeLinecap="round" /> : null}
      <circle cx={at(ratio.value)} cy="8" r="3.6" fill={colour} />
    </svg>
  );
}

export function RatioText({ ratio }: { ratio: Interval | null }) {
  const f = useFormat();
  if (ratio === null) return <>–</>;
  return (
    <span>
      <strong>{f.times(ratio.value)}</strong>
      {ratio.low !== null && ratio.high !== null ? <div className={css.interval}>[{f.times(ratio.low)} – {f.times(ratio.high)}]</div> : null}
    </span>
  );
}

export const asInterval = (ratio: Ratio | null): Interval | null =>
  ratio === null || ratio.ratio === null ? null : { value: ratio.ratio, low: ratio.low, high: ratio.high };

/** How much of a budget is gone. */
export function Budget({ used, whole, small = false }: { used: number; whole: number; small?: boolean }) {
  const { t } = useI18n();
  const f = useFormat();
  const share = Math.min(1, whole > 0 ? used / whole : 0);
  const told = t("ad.of", { used: f.minutes(used), whole: f.minutes(whole) });
  return (
    <div className={small ? css.small : css.budget}>
      <div className={css.bar} role="progressbar" aria-label={t("ad.used")} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(100 * share)} aria-valuetext={told}>
        <span style={{ width: `${100 * share}%` }} />
      </div>
      <span>{told}</span>
    </div>
  );
}
