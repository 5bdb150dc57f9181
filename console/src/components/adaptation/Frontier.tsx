import { useEffect, useRef, useState } from "react";
import type { Candidate, FrontierPoint, Spread, View } from "../../api/adaptation";
import { useFormat } from "../../app/format";
import { useI18n, type MessageKey, type Translate } from "../../app/i18n";
import { placed, scaled, type Scale } from "./axes";
import css from "./adaptation.module.css";

const COLOURS = ["var(--chart-1)", "var(--chart-2)", "var(--chart-3)"];
const EDGE = { left: 46, right: 14, top: 12, bottom: 40 };
type Put = { point: FrontierPoint; x: number; y: number; colour: string };

function useWidth() {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (box.current === null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  return [box, width] as const;
}

/** What must be inside: values, and the ends of intervals; mere ranges are cut where they leave. */
function ends(spreads: Spread[], scale: number): number[] {
  return spreads.flatMap((one) => [one.value, ...(one.basis === "interval" && one.low > 0 ? [one.low, one.high] : [])]).map((value) => value * scale);
}

function nameOf(t: Translate, point: FrontierPoint, leading: string | null): string {
  if (point.is_chosen) return `${t("ad.chosen")} #${point.number}`;
  if (point.is_baseline) return t("ad.baseline");
  return point.candidate === leading ? `#${point.number} ${t("ad.leading")}` : `#${point.number}`;
}

/** Throughput against TPOT: a mark for each measured candidate. */
export function Frontier({ view }: { view: View }) {
  const { t } = useI18n();
  const [box, width] = useWidth();
  const [told, setTold] = useState<string | null>(null);
  const engines = [...new Set(view.candidates.map((one) => one.engine))];
  const byId = new Map(view.candidates.map((one) => [one.id, one]));
  const height = width < 520 ? 300 : 400;
  const x = scaled(ends(view.frontier.map((one) => one.output_tokens_per_s), 1), EDGE.left, width - EDGE.right, width < 520 ? 4 : 7);
  const y = scaled(ends(view.frontier.map((one) => one.tpot_s), 1000), height - EDGE.bottom, EDGE.top, 6);
  const leading = view.chosen === null ? view.leading : null;
  const rank = (one: FrontierPoint) => Number(one.is_chosen) * 8 + Number(one.is_baseline) * 4 + Number(one.candidate === leading) * 2 + Number(!one.refused);
  const points: Put[] = [...view.frontier]
    .sort((a, b) => rank(a) - rank(b))
    .map((point) => ({
      point,
      x: x.at(point.output_tokens_per_s.value),
      y: y.at(point.tpot_s.value * 1000),
      colour: COLOURS[Math.min(Math.max(0, engines.indexOf(byId.get(point.candidate)?.engine ?? "")), COLOURS.length - 1)]!,
    }));
  const labels = placed(
    [...points].reverse().filter(({ point }) => point.is_baseline || point.is_chosen || point.is_finalist || point.candidate === leading).map((one) => ({ ...one, text: nameOf(t, one.point, leading) })),
    points,
    { left: EDGE.left, right: width - EDGE.right, top: EDGE.top, bottom: height - EDGE.bottom },
  );
  const shown = points.find(({ point }) => point.candidate === told);
  return (
    <div>
      <div ref={box} className={css.chart} style={{ minHeight: height }}>
        {width > 0 ? (
          <svg viewBox={`0 0 ${width} ${height}`} height={height} role="img" aria-label={t("ad.frontier")} data-testid="frontier">
            <Axes x={x} y={y} width={width} height={height} />
            <Stairs points={points} />
            {points.map((one) => <Mark key={one.point.candidate} put={one} x={x} y={y} onTold={setTold} />)}
            {labels.map((one) => (
              <text key={one.point.candidate} x={one.at.x} y={one.at.y} textAnchor={one.at.anchor} className={`${css.label} ${one.point.is_chosen || one.point.is_baseline ? css.labelStrong : ""}`}>
                {one.text}
              </text>
            ))}
          </svg>
        ) : null}
        {shown ? <Tip put={shown} candidate={byId.get(shown.point.candidate)} name={nameOf(t, shown.point, leading)} width={width} /> : null}
      </div>
      <Legend engines={engines} />
    </div>
  );
}

function Axes({ x, y, width, height }: { x: Scale; y: Scale; width: number; height: number }) {
  const { t } = useI18n();
  return (
    <g>
      {y.ticks.map((tick) => (
        <g key={tick}>
          <line className={css.gridline} x1={EDGE.left} x2={width - EDGE.right} y1={y.at(tick)} y2={y.at(tick)} />
          <text className={css.axis} x={EDGE.left - 6} y={y.at(tick) + 4} textAnchor="end">{tick}</text>
        </g>
      ))}
      {x.ticks.map((tick) => (
        <g key={tick}>
          <line className={css.gridline} x1={x.at(tick)} x2={x.at(tick)} y1={EDGE.top} y2={height - EDGE.bottom} />
          <text className={css.axis} x={x.at(tick)} y={height - EDGE.bottom + 16} textAnchor="middle">{tick}</text>
        </g>
      ))}
      <text className={css.axis} x={(EDGE.left + width - EDGE.right) / 2} y={height - 4} textAnchor="middle">{t("ad.axistokens")}</text>
      <text className={css.axis} transform={`translate(11 ${(EDGE.top + height - EDGE.bottom) / 2}) rotate(-90)`} textAnchor="middle">{t("ad.axistpot")}</text>
      <text className={css.corner} x={width - EDGE.right - 6} y={EDGE.top + 12} textAnchor="end">{t("ad.better")}</text>
    </g>
  );
}

/** The border of what was reached: nothing beyond it was both faster and sooner. */
function Stairs({ points }: { points: Put[] }) {
  const on = points.filter(({ point }) => point.on_frontier && !point.refused).sort((a, b) => a.x - b.x);
  const [first, ...rest] = on;
  if (first === undefined) return null;
  const steps = rest.map((one) => `V${one.y}H${one.x}`).join("");
  return <path className={css.frontier} d={`M${EDGE.left} ${first.y}H${first.x}${steps}V${EDGE.top}`} />;
}

function Whisker({ spread, scale, axis, other, upright, colour }: { spread: Spread; scale: number; axis: Scale; other: number; upright: boolean; colour: string }) {
  if (spread.basis === "single") return null;
  const [low, high] = [axis.at(axis.inside(spread.low * scale)), axis.at(axis.inside(spread.high * scale))];
  const d = upright ? `M${other} ${low}V${high}` : `M${low} ${other}H${high}`;
  return <path d={d} stroke={colour} className={`${css.whisker} ${spread.basis === "range" ? css.range : ""}`} />;
}

function Shape({ point, x, y, colour }: { point: FrontierPoint; x: number; y: number; colour: string }) {
  const fill = point.gate === "passed" && !point.refused ? colour : "var(--panel)";
  const look = { fill, stroke: colour, className: css.mark };
  if (point.is_chosen) return <path d={`M${x} ${y - 9}l9 9l-9 9l-9 -9z`} {...look} />;
  if (point.is_baseline) return <rect x={x - 6} y={y - 6} width={12} height={12} {...look} />;
  return <circle cx={x} cy={y} r={4.5} {...look} />;
}

function Mark({ put, x, y, onTold }: { put: Put; x: Scale; y: Scale; onTold: (id: string | null) => void }) {
  const { point, colour } = put;
  return (
    <g opacity={point.refused ? 0.75 : 1} onPointerEnter={() => onTold(point.candidate)} onPointerLeave={() => onTold(null)}>
      <Whisker spread={point.output_tokens_per_s} scale={1} axis={x} other={put.y} upright={false} colour={colour} />
      <Whisker spread={point.tpot_s} scale={1000} axis={y} other={put.x} upright colour={colour} />
      <circle cx={put.x} cy={put.y} r={12} fill="transparent" />
      <Shape point={point} x={put.x} y={put.y} colour={colour} />
      {point.refused ? <path className={css.cross} d={`M${put.x - 6} ${put.y - 6}l12 12m0 -12l-12 12`} /> : null}
    </g>
  );
}

function Tip({ put, candidate, name, width }: { put: Put; candidate: Candidate | undefined; name: string; width: number }) {
  const { t } = useI18n();
  const f = useFormat();
  const side = put.x > width / 2 ? { right: width - put.x + 14 } : { left: put.x + 14 };
  const { point } = put;
  return (
    <div className={css.tip} style={{ ...side, top: Math.max(0, put.y - 20) }}>
      <strong>{name}</strong>
      <span>{f.rate(point.output_tokens_per_s.value)} {t("ad.axistokens")} · TPOT {f.ms(point.tpot_s.value * 1000)}</span>
      <span>{point.refused ? t("ad.refused") : t(`ad.gate.${point.gate}` as MessageKey)}</span>
      {candidate ? <span>{candidate.engine} {Object.entries(candidate.changed).map(([key, value]) => `${key}=${String(value)}`).join(" ")}</span> : null}
    </div>
  );
}

function Legend({ engines }: { engines: string[] }) {
  const { t } = useI18n();
  const dot = (fill: string, stroke: string) => <svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="4.5" fill={fill} stroke={stroke} strokeWidth="2" /></svg>;
  return (
    <ul className={css.legend}>
      {engines.map((name, index) => <li key={name}>{dot(COLOURS[Math.min(index, COLOURS.length - 1)]!, COLOURS[Math.min(index, COLOURS.length - 1)]!)} {name}</li>)}
      <li>{dot("var(--panel)", "var(--ink-2)")} {t("ad.unmeasured")}</li>
      <li><svg viewBox="0 0 16 16" aria-hidden="true"><path className={css.cross} d="M3 3l10 10m0 -10l-10 10" /></svg> {t("ad.refused")}</li>
      <li><svg viewBox="0 0 16 16" aria-hidden="true"><path className={css.frontier} d="M0 8h16" /></svg> {t("ad.frontierline")}</li>
      <li><svg viewBox="0 0 16 16" aria-hidden="true"><path stroke="var(--ink-2)" strokeWidth="1.4" d="M8 1v14" /></svg> {t("ad.bars")}</li>
    </ul>
  );
}
