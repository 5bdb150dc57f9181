import { useMemo } from "react";
import { useI18n } from "./i18n";

export type Format = {
  whole: (value: number) => string;
  rate: (value: number | null | undefined) => string;
  ms: (value: number | null | undefined) => string;
  seconds: (value: number | null | undefined) => string;
  bytes: (value: number | null | undefined) => string;
  credits: (micro: number) => string;
  when: (iso: string) => string;
  ago: (iso: string) => string;
  speed: (value: number, unit: string) => string;
  share: (value: number | null | undefined) => string;
  times: (ratio: number | null | undefined) => string;
  minutes: (seconds: number) => string;
  clock: (seconds: number) => string;
};

const DASH = "–";
const SCALES: [number, string][] = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const UNITS: Record<string, string> = { bytes_per_s: "B/s", flop_per_s: "FLOP/s", op_per_s: "OP/s", tokens_per_s: "tokens/s" };

function significant(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Numbers, money and times as the chosen language writes them; unknown is a dash, never zero. */
export function useFormat(): Format {
  const { language } = useI18n();
  return useMemo(() => {
    const whole = new Intl.NumberFormat(language);
    const date = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
    const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
    const share = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
    const credits = new Intl.NumberFormat(language, { maximumFractionDigits: 6 });
    return {
      whole: (value) => whole.format(value),
      rate: (value) => (value === null || value === undefined ? DASH : significant(value)),
      ms: (value) =>
        value === null || value === undefined ? DASH : value >= 1000 ? `${significant(value / 1000)} s` : `${significant(value)} ms`,
      seconds: (value) =>
        value === null || value === undefined ? DASH : value < 1 ? `${Math.round(value * 1000)} ms` : `${significant(value)} s`,
      bytes: (value) => (value === null || value === undefined ? DASH : `${(value / 1024 ** 3).toFixed(1)} GiB`),
      credits: (micro) => credits.format(micro / 1e6),
      when: (iso) => date.format(new Date(iso)),
      ago: (iso) => {
        const s = (new Date(iso).getTime() - Date.now()) / 1000;
        if (Math.abs(s) < 60) return relative.format(Math.round(s), "second");
        if (Math.abs(s) < 3600) return relative.format(Math.round(s / 60), "minute");
        if (Math.abs(s) < 86_400) return relative.format(Math.round(s / 3600), "hour");
        return relative.format(Math.round(s / 86_400), "day");
      },
      speed: (value, unit) => {
        const [scale, prefix] = SCALES.find(([least]) => value >= least) ?? [1, ""];
        return `${significant(value / scale)} ${prefix}${UNITS[unit] ?? unit}`;
      },
      share: (value) => (value === null || value === undefined ? DASH : share.format(value)),
      times: (ratio) => (ratio === null || ratio === undefined ? DASH : `${ratio < 0.1 ? ratio.toFixed(3) : significant(ratio)}×`),
      clock: (seconds) => {
        const [h, m, s] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), Math.floor(seconds % 60)];
        return `${h ? `${h}:` : ""}${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")}`;
      },
      minutes: (seconds) => (seconds < 60 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${(seconds / 60).toFixed(seconds < 600 ? 1 : 0)} min` : `${(seconds / 3600).toFixed(1)} h`),
    };
  }, [language]);
}
