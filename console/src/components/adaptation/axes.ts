import type { FrontierPoint } from "../../api/adaptation";

export type Scale = { at: (value: number) => number; inside: (value: number) => number; ticks: number[] };

/** A linear axis over these values from one pixel to another, with round ticks. */
export function scaled(values: number[], from: number, to: number, count: number): Scale {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 1];
  const room = (high - low || high || 1) * 0.08;
  [low, high] = [Math.max(0, low - room), high + room];
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough) ?? rough;
  const first = Math.ceil(low / step);
  const ticks = Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, index) => Number(((first + index) * step).toPrecision(6)));
  return {
    at: (value) => from + ((value - low) / (high - low)) * (to - from),
    inside: (value) => Math.min(high, Math.max(low, value)),
    ticks,
  };
}

type Wanted = { point: FrontierPoint; x: number; y: number; text: string };
type Box = { left: number; right: number; top: number; bottom: number };
export type Label = Wanted & { at: { x: number; y: number; anchor: "start" | "middle" | "end" } };

const CHARACTER_PX = 7.2;
const LINE_PX = 14;

function boxOf(x: number, y: number, anchor: Label["at"]["anchor"], text: string): Box {
  // A character of Chinese is twice as wide.
  const width = [...text].reduce((sum, one) => sum + (one.charCodeAt(0) > 0x2e80 ? 12.5 : CHARACTER_PX), 0);
  const left = anchor === "start" ? x : anchor === "end" ? x - width : x - width / 2;
  return { left, right: left + width, top: y - LINE_PX + 3, bottom: y + 3 };
}

const apart = (a: Box, b: Box) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;

/** Places for labels, the most important first, where they hide neither marks nor each other; one without room is left out. */
export function placed(wanted: Wanted[], marks: { x: number; y: number }[], frame: Box): Label[] {
  const taken: Box[] = marks.map(({ x, y }) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 }));
  const found: Label[] = [];
  for (const [index, one] of wanted.entries()) {
    const places: Label["at"][] = [12, 24].flatMap((gap) => [
      { x: one.x + gap, y: one.y + 4, anchor: "start" as const },
      { x: one.x - gap, y: one.y + 4, anchor: "end" as const },
      { x: one.x, y: one.y - gap, anchor: "middle" as const },
      { x: one.x, y: one.y + gap + 8, anchor: "middle" as const },
      { x: one.x + gap, y: one.y - gap, anchor: "start" as const },
      { x: one.x - gap, y: one.y - gap, anchor: "end" as const },
      { x: one.x + gap, y: one.y + gap + 6, anchor: "start" as const },
    ]);
    const fits = (at: Label["at"]) => {
      const box = boxOf(at.x, at.y, at.anchor, one.text);
      return box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom && taken.every((other) => apart(box, other));
    };
    const important = one.point.is_chosen || one.point.is_baseline;
    const at = places.find(fits) ?? (important || index === 0 ? places[2] : undefined);
    if (at === undefined) continue;
    taken.push(boxOf(at.x, at.y, at.anchor, one.text));
    found.push({ ...one, at });
  }
  return found;
}
