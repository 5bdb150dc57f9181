import type { ReactNode } from "react";
import { Link, useLocation } from "wouter";
import { Logo } from "../components/Logo";
import { Button } from "../components/controls";
import { useI18n, type Language, type MessageKey } from "./i18n";
import { useProjectNames, useSession } from "./session";
import { useTheme, type Theme } from "./theme";
import css from "./Shell.module.css";

const PAGES: [string, MessageKey, string][] = [
  ["/", "nav.home", "M3 11 12 4l9 7v9h-6v-6H9v6H3z"],
  ["/playground", "nav.playground", "M4 5h16v11H9l-5 4z"],
  ["/deployments", "nav.deployments", "M4 4h16v6H4zM4 14h16v6H4zM7 7h.01M7 17h.01"],
  ["/adaptations", "nav.adaptations", "M4 6h9M17 6h3M4 12h3M11 12h9M4 18h11M19 18h1M15 4v4M9 10v4M17 16v4"],
  ["/recipes", "nav.recipes", "M6 3h9l4 4v14H6zM14 3v5h5M9 13l2 2 4-4"],
  ["/matrix", "nav.matrix", "M4 4h16v16H4zM4 9.3h16M4 14.6h16M9.3 4v16M14.6 4v16"],
  ["/pool", "nav.pool", "M5 5h14v14H5zM9 1v4M15 1v4M9 19v4M15 19v4M1 9h4M1 15h4M19 9h4M19 15h4"],
  ["/usage", "nav.usage", "M4 20V10M10 20V4M16 20v-7M22 20H2"],
  ["/keys", "nav.keys", "M12 16a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM11 13 21 3M16 8l3 3"],
];

/** The two preferences that a page may change before anybody is signed in. */
export function Preferences() {
  const { t, language, setLanguage } = useI18n();
  const [theme, setTheme] = useTheme();
  return (
    <div className={css.preferences}>
      <select aria-label={t("shell.language")} value={language} onChange={(event) => setLanguage(event.target.value as Language)}>
        <option value="en">English</option>
        <option value="zh-CN">简体中文</option>
      </select>
      <select aria-label={t("shell.theme")} value={theme} onChange={(event) => setTheme(event.target.value as Theme)}>
        <option value="system">{t("theme.system")}</option>
        <option value="light">{t("theme.light")}</option>
        <option value="dark">{t("theme.dark")}</option>
      </select>
    </div>
  );
}

export function Shell({ children }: { children: ReactNode }) {
  const { t } = useI18n();
  const { me, project, setProject, signOut } = useSession();
  const names = useProjectNames();
  const [path] = useLocation();
  return (
    <div className={css.shell}>
      <a className={css.skip} href="#content">
        {t("nav.skip")}
      </a>
      <aside className={css.side}>
        <div className={css.brand}>
          <Logo />
          <span>
            Yunhe <small lang="zh">运河</small>
          </span>
        </div>
        <nav aria-label={t("nav.main")}>
          {PAGES.map(([to, key, icon]) => (
            <Link key={to} href={to} className={css.link} aria-current={path === to || (to !== "/" && path.startsWith(`${to}/`)) ? "page" : undefined}>
              <svg viewBox="0 0 24 24" aria-hidden="true">
                <path d={icon} />
              </svg>
              <span>{t(key)}</span>
            </Link>
          ))}
        </nav>
      </aside>
      <div className={css.main}>
        <header className={css.top}>
          <label className={css.project}>
            <span>{t("shell.project")}</span>
            <select value={project} onChange={(event) => setProject(event.target.value)}>
              {names.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <Preferences />
          <span className={css.user}>{me.name}</span>
          <Button small onClick={() => void signOut()}>
            {t("shell.signout")}
          </Button>
        </header>
        <main id="content" className={css.content} tabIndex={-1}>
          {children}
        </main>
      </div>
    </div>
  );
}
