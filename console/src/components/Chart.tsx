import { BarChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { useEffect, useRef } from "react";
import { onThemeChange } from "../app/theme";

echarts.use([BarChart, LineChart, GridComponent, LegendComponent, TooltipComponent, CanvasRenderer]);

const HEIGHT_PX = 240;

export type Series = { name: string; unit: string; values: [string, number | null][]; axis?: 0 | 1 };

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The points of a line: one with nothing known beside it is a dot, because no line would show it. */
function linePoints(values: Series["values"]) {
  return values.map(([at, value], index) => {
    const alone = value !== null && values[index - 1]?.[1] == null && values[index + 1]?.[1] == null;
    return { value: [at, value], symbol: alone ? "circle" : "none", symbolSize: 6 };
  });
}

function option(series: Series[], kind: "line" | "bar") {
  const [ink, line, panel] = [colour("--ink-2"), colour("--line"), colour("--panel")];
  const axes = [...new Set(series.map((one) => one.axis ?? 0))].map((index) => ({
    type: "value",
    position: index === 0 ? "left" : "right",
    name: series.find((one) => (one.axis ?? 0) === index)?.unit ?? "",
    nameTextStyle: { color: ink, align: index === 0 ? "left" : "right" },
    nameGap: 10,
    min: 0,
    axisLabel: { color: ink },
    splitLine: { lineStyle: { color: line }, show: index === 0 },
  }));
  return {
    animation: false,
    color: [colour("--chart-1"), colour("--chart-2"), colour("--chart-3")],
    textStyle: { fontFamily: colour("--font") },
    grid: { left: 8, right: 8, top: 44, bottom: 4, containLabel: true },
    legend: { top: 0, right: 0, textStyle: { color: ink }, icon: "roundRect", itemWidth: 12, itemHeight: 4 },
    tooltip: { trigger: "axis", backgroundColor: panel, borderColor: line, textStyle: { color: colour("--ink") }, confine: true },
    xAxis: { type: "time", axisLabel: { color: ink, hideOverlap: true }, axisLine: { lineStyle: { color: line } }, splitLine: { show: false } },
    yAxis: axes,
    series: series.map((one) => ({
      name: one.name,
      type: kind,
      stack: kind === "bar" ? "all" : undefined,
      barMaxWidth: 28,
      yAxisIndex: one.axis ?? 0,
      connectNulls: false,
      lineStyle: { width: 2 },
      areaStyle: kind === "line" && (one.axis ?? 0) === 0 ? { opacity: 0.08 } : undefined,
      tooltip: { valueFormatter: (value: unknown) => (value === null || value === undefined ? "–" : `${Number(value).toFixed(2)} ${one.unit}`) },
      data: kind === "line" ? linePoints(one.values) : one.values,
    })),
  };
}

/** A chart over time with units on its axes; redrawn when the theme changes. */
export function Chart({ series, label, kind = "line" }: { series: Series[]; label: string; kind?: "line" | "bar" }) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<echarts.ECharts | null>(null);
  useEffect(() => {
    if (box.current === null) return;
    const made = echarts.init(box.current);
    chart.current = made;
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      made.dispose();
      chart.current = null;
    };
  }, []);
  useEffect(() => {
    const draw = () => chart.current?.setOption(option(series, kind), { notMerge: true });
    draw();
    return onThemeChange(draw);
  }, [series, kind]);
  return <div ref={box} role="img" aria-label={label} style={{ height: HEIGHT_PX }} />;
}
