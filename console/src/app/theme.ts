import { useEffect, useState } from "react";

export type Theme = "light" | "dark" | "system";
const STORED = "yunhe.theme";

function apply(theme: Theme): void {
  const dark = theme === "dark" || (theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  window.dispatchEvent(new Event("yunhe-theme"));
}

export function storedTheme(): Theme {
  const stored = localStorage.getItem(STORED);
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** The chosen theme; "system" follows the machine while the page is open. */
export function useTheme(): [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState<Theme>(storedTheme);
  useEffect(() => {
    localStorage.setItem(STORED, theme);
    apply(theme);
    const media = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => apply(theme);
    media.addEventListener("change", follow);
    return () => media.removeEventListener("change", follow);
  }, [theme]);
  return [theme, setTheme];
}

/** Calls back whenever colours change, for what is drawn on a canvas. */
export function onThemeChange(callback: () => void): () => void {
  window.addEventListener("yunhe-theme", callback);
  return () => window.removeEventListener("yunhe-theme", callback);
}
