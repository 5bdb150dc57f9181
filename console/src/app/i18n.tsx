import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { en, type Messages } from "../i18n/en";
import { zh } from "../i18n/zh";

export type Language = "en" | "zh-CN";
export type MessageKey = keyof Messages;
export type Translate = (key: MessageKey, values?: Record<string, string | number>) => string;

const TABLES: Record<Language, Messages> = { en, "zh-CN": zh };
const STORED = "yunhe.language";

type I18n = { language: Language; setLanguage: (language: Language) => void; t: Translate };
const Context = createContext<I18n | null>(null);

function firstLanguage(): Language {
  const stored = localStorage.getItem(STORED);
  if (stored === "en" || stored === "zh-CN") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

export function I18nProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(firstLanguage);
  useEffect(() => {
    localStorage.setItem(STORED, language);
    document.documentElement.lang = language;
  }, [language]);
  const value = useMemo<I18n>(() => {
    const table = TABLES[language];
    const t: Translate = (key, values) =>
      Object.entries(values ?? {}).reduce((text, [name, v]) => text.replaceAll(`{${name}}`, String(v)), table[key]);
    return { language, setLanguage, t };
  }, [language]);
  return <Context value={value}>{children}</Context>;
}

export function useI18n(): I18n {
  const found = useContext(Context);
  if (found === null) throw new Error("useI18n needs an I18nProvider above it");
  return found;
}

/** A state's word; states that have none in the table are shown as they are. */
export function stateWord(t: Translate, state: string): string {
  const key = `state.${state}`;
  return key in en ? t(key as MessageKey) : state.replaceAll("_", " ");
}
