import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode, lazy, Suspense, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { Route, Switch } from "wouter";
import { ApiError } from "./api/client";
import { I18nProvider, useI18n } from "./app/i18n";
import { SessionProvider } from "./app/session";
import { Shell } from "./app/Shell";
import { ErrorBoundary, Skeleton } from "./components/feedback";
import { Deployments } from "./pages/Deployments";
import { Keys } from "./pages/Keys";
import { Playground } from "./pages/Playground";
import { Pool } from "./pages/Pool";
import "./styles/tokens.css";
import "./styles/base.css";

// Pages with much code of their own, such as charts, are loaded when they are opened.
const Home = lazy(() => import("./pages/Home").then((module) => ({ default: module.Home })));
const Usage = lazy(() => import("./pages/Usage").then((module) => ({ default: module.Usage })));

const Adaptations = lazy(() => import("./pages/Adaptations").then((module) => ({ default: module.Adaptations })));
const AdaptationDetails = lazy(() => import("./pages/AdaptationDetails").then((module) => ({ default: module.AdaptationDetails })));
const Recipes = lazy(() => import("./pages/Recipes").then((module) => ({ default: module.Recipes })));
const RecipeDetails = lazy(() => import("./pages/RecipeDetails").then((module) => ({ default: module.RecipeDetails })));
const RecipeDiff = lazy(() => import("./pages/RecipeDiff").then((module) => ({ default: module.RecipeDiff })));
const Matrix = lazy(() => import("./pages/Matrix").then((module) => ({ default: module.Matrix })));

const client = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (count, error) => !(error instanceof ApiError && error.status >= 400 && error.status < 500) && count < 2,
      refetchOnWindowFocus: false,
    },
  },
});
client.getQueryCache().subscribe((event) => {
  const error = event.type === "updated" ? event.query.state.error : null;
  if (error instanceof ApiError && error.status === 401 && event.query.queryKey[0] !== "me") {
    void client.resetQueries({ queryKey: ["me"] });
  }
});

function Page({ children }: { children: ReactNode }) {
  const { t } = useI18n();
  return (
    <ErrorBoundary title={t("error.page")}>
      <Suspense fallback={<Skeleton lines={6} />}>{children}</Suspense>
    </ErrorBoundary>
  );
}

function Pages() {
  return (
    <Shell>
      <Switch>
        <Route path="/playground"><Page key="play"><Playground /></Page></Route>
        <Route path="/deployments"><Page key="dep"><Deployments /></Page></Route>
        <Route path="/adaptations"><Page key="adaptations"><Adaptations /></Page></Route>
        <Route path="/adaptations/:id">{({ id }) => <Page key={id}><AdaptationDetails id={id} /></Page>}</Route>
        <Route path="/recipes"><Page key="recipes"><Recipes /></Page></Route>
        <Route path="/recipes/diff"><Page key="diff"><RecipeDiff /></Page></Route>
        <Route path="/recipes/:id">{({ id }) => <Page key={id}><RecipeDetails id={id} /></Page>}</Route>
        <Route path="/matrix"><Page key="matrix"><Matrix /></Page></Route>
        <Route path="/pool"><Page key="pool"><Pool /></Page></Route>
        <Route path="/usage"><Page key="usage"><Usage /></Page></Route>
        <Route path="/keys"><Page key="keys"><Keys /></Page></Route>
        <Route><Page key="home"><Home /></Page></Route>
      </Switch>
    </Shell>
  );
}

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <I18nProvider>
      <QueryClientProvider client={client}>
        <SessionProvider>
          <Pages />
        </SessionProvider>
      </QueryClientProvider>
    </I18nProvider>
  </StrictMode>,
);
