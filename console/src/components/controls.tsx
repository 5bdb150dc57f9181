import { useEffect, useId, useRef, useState, type ButtonHTMLAttributes, type ReactNode } from "react";
import { useI18n } from "../app/i18n";
import css from "./controls.module.css";

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement> & { kind?: "primary" | "plain" | "danger"; small?: boolean };

export function Button({ kind = "plain", small = false, className, ...rest }: ButtonProps) {
  return <button type="button" {...rest} className={`${css.button} ${css[kind]} ${small ? css.small : ""} ${className ?? ""}`} />;
}

export function CopyButton({ text, label, small = true }: { text: string; label?: string; small?: boolean }) {
  const { t } = useI18n();
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    <Button small={small} title={text} onClick={() => void navigator.clipboard.writeText(text).then(() => setDone(true))}>
      <span aria-live="polite">{done ? t("common.copied") : (label ?? t("common.copy"))}</span>
    </Button>
  );
}

export function Field({ label, children, hint }: { label: string; children: (id: string) => ReactNode; hint?: string }) {
  const id = useId();
  return (
    <div className={css.field}>
      <label htmlFor={id}>{label}</label>
      {children(id)}
      {hint ? <p className={css.hint}>{hint}</p> : null}
    </div>
  );
}

/** A modal dialog: the browser's own, so that focus, Escape and screen readers work as they should. */
export function Dialog({ title, open, onClose, children, wide = false }: { title: string; open: boolean; onClose: () => void; children: ReactNode; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const { t } = useI18n();
  useEffect(() => {
    const dialog = ref.current;
    if (dialog === null) return;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);
  if (!open) return null;
  return (
    <dialog ref={ref} className={`${css.dialog} ${wide ? css.wide : ""}`} aria-labelledby={heading} onClose={onClose}>
      <header>
        <h2 id={heading}>{title}</h2>
        <Button small aria-label={t("common.close")} onClick={onClose}>
          ✕
        </Button>
      </header>
      {children}
    </dialog>
  );
}

/** Asks before something that cannot be undone. */
export function Confirm({ question, action, open, onClose, onConfirm, busy, danger = true }: { question: string; action: string; open: boolean; onClose: () => void; onConfirm: () => void; busy: boolean; danger?: boolean }) {
  const { t } = useI18n();
  return (
    <Dialog title={action} open={open} onClose={onClose}>
      <p>{question}</p>
      <div className={css.actions}>
        <Button onClick={onClose}>{t("common.cancel")}</Button>
        <Button kind={danger ? "danger" : "primary"} disabled={busy} onClick={onConfirm}>
          {action}
        </Button>
      </div>
    </Dialog>
  );
}

export function Actions({ children }: { children: ReactNode }) {
  return <div className={css.actions}>{children}</div>;
}
