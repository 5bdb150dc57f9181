import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, post, type Schemas } from "../api/client";
import { useI18n } from "../app/i18n";
import { Preferences } from "../app/Shell";
import { Button, Field } from "../components/controls";
import { ErrorBox, Prose } from "../components/feedback";
import { Logo } from "../components/Logo";
import css from "./SignIn.module.css";

export function SignIn({ onSignedIn, error }: { onSignedIn: () => void; error: unknown }) {
  const { t } = useI18n();
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const signIn = useMutation({
    mutationFn: () => post<Schemas["Session"]>("/sessions", { user, password }),
    onSuccess: onSignedIn,
  });
  const trouble = error instanceof ApiError && error.status !== 401 ? error : null;
  return (
    <main className={css.page}>
      <div className={css.card}>
        <div className={css.brand}>
          <Logo size={44} />
          <div>
            <strong>
              Yunhe <span lang="zh">运河</span>
            </strong>
            <p>{t("app.tagline")}</p>
          </div>
        </div>
        <h1>{t("signin.title")}</h1>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            signIn.mutate();
          }}
        >
          <Field label={t("signin.user")}>
            {(id) => <input id={id} autoComplete="username" autoFocus required value={user} onChange={(e) => setUser(e.target.value)} />}
          </Field>
          <Field label={t("signin.password")}>
            {(id) => (
              <input id={id} type="password" autoComplete="current-password" required value={password} onChange={(e) => setPassword(e.target.value)} />
            )}
          </Field>
          {signIn.error || trouble ? <ErrorBox error={signIn.error ?? trouble} /> : null}
          <Button kind="primary" type="submit" disabled={signIn.isPending}>
            {t("signin.submit")}
          </Button>
        </form>
        <p className={css.hint}><Prose text={t("signin.hint")} /></p>
        <Preferences />
      </div>
    </main>
  );
}
