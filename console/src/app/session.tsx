import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, useCallback, useContext, useMemo, useState, type ReactNode } from "react";
import { ApiError, get, remove, type Schemas } from "../api/client";
import { forgetPlaygroundKey } from "../api/playgroundKey";
import { SignIn } from "../pages/SignIn";
import { Skeleton } from "../components/feedback";

type Me = Schemas["Me"];
type Session = { me: Me; project: string; setProject: (name: string) => void; signOut: () => Promise<void> };
const Context = createContext<Session | null>(null);
const STORED = "yunhe.project";

/** Shows the sign-in page until somebody is signed in, then the rest. */
export function SessionProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const me = useQuery({
    queryKey: ["me"],
    queryFn: () => get<Me>("/me"),
    retry: (count, error) => !(error instanceof ApiError && error.status === 401) && count < 3,
    staleTime: 60_000,
  });
  const [chosen, setChosen] = useState(() => localStorage.getItem(STORED));
  const setProject = useCallback((name: string) => {
    localStorage.setItem(STORED, name);
    setChosen(name);
  }, []);
  const projects = useQuery({
    queryKey: ["projects", me.data?.id],
    queryFn: () => get<{ data: Schemas["Project"][] }>("/projects", { limit: 500 }),
    enabled: me.data !== undefined,
  });
  const names = useMemo(() => projects.data?.data.map((project) => project.name) ?? [], [projects.data]);
  const project = chosen !== null && names.includes(chosen) ? chosen : (names.at(-1) ?? "default");
  const value = useMemo<Session | null>(
    () =>
      me.data
        ? {
            me: me.data,
            project,
            setProject,
            signOut: async () => {
              await forgetPlaygroundKey();
              await remove("/sessions/current").catch(() => undefined);
              client.clear();
              await client.invalidateQueries();
              window.location.assign("/");
            },
          }
        : null,
    [me.data, project, setProject, client],
  );
  if (me.isPending || (me.data && projects.isPending)) return <Skeleton lines={6} page />;
  if (value === null) return <SignIn onSignedIn={() => client.invalidateQueries({ queryKey: ["me"] })} error={me.error} />;
  return <Context value={value}>{children}</Context>;
}

export function useSession(): Session {
  const found = useContext(Context);
  if (found === null) throw new Error("useSession needs a SessionProvider above it");
  return found;
}

/** The names of the projects that the user sees, for the switcher. */
export function useProjectNames(): string[] {
  const { me } = useSession();
  const projects = useQuery({
    queryKey: ["projects", me.id],
    queryFn: () => get<{ data: Schemas["Project"][] }>("/projects", { limit: 500 }),
  });
  return projects.data?.data.map((project) => project.name) ?? [];
}
