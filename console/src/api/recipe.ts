import { get, type Page, type Schemas } from "./client";
import type { components } from "./records";

export type Recipe = Schemas["Recipe"];
export type Document = components["schemas"]["Recipe"];
export type RecipeDetail = Omit<Schemas["RecipeDetail"], "document"> & { document: Document };
export type Measured = components["schemas"]["Estimate"];

const LIST_MAX = 500;

export const readRecipes = () => get<Page<Recipe>>("/recipes", { limit: LIST_MAX });
export const readRecipe = (id: string) => get<RecipeDetail>(`/recipes/${id}`);
/** Enough of a content id to tell recipes apart by eye. */
export const shortId = (id: string) => id.slice(0, 12);

/** Whether a ratio is shown to be an improvement or a loss; null when its interval holds 1, or there is none. */
export function verdictOf(metric: string, ratio: Schemas["Estimate"]): boolean | null {
  const [low, high] = [ratio.low ?? null, ratio.high ?? null];
  if (low === null || high === null || (low <= 1 && high >= 1)) return null;
  return metric.startsWith("ttft") || metric.startsWith("tpot") ? high < 1 : low > 1;
}
