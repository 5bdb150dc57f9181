import type { components } from "./records";
import { get, type Schemas } from "./client";

type Parts = components["schemas"];
export type View = Parts["AdaptationView"];
export type Candidate = Parts["CandidateView"];
export type FrontierPoint = Parts["FrontierPoint"];
export type Spread = Parts["Spread"];
export type Ratio = Parts["Ratio"];
export type Load = Parts["LoadView"];
export type Fidelity = Parts["FidelityView"];
export type LogLine = Parts["LogLine"];

const FINAL = new Set(["finished", "failed", "cancelled"]);
export const LIVE_MS = 2000;

export const hasEnded = (state: string | undefined) => state !== undefined && FINAL.has(state);
export const readView = (id: string) => get<View>(`/adaptations/${id}/view`);
export const readAdaptation = (id: string) => get<Schemas["Adaptation"]>(`/adaptations/${id}`);

/** Whether somebody may start and stop adaptations and take recipes back. */
export function isOperator(me: Schemas["Me"]): boolean {
  return me.roles.some((role) => role === "platform_admin" || role === "centre_operator");
}
