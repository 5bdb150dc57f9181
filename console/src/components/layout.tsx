import type { ReactNode } from "react";
import { CopyButton } from "./controls";
import { useI18n } from "../app/i18n";
import css from "./layout.module.css";

export function PageHead({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={css.head}>
      <h1>{title}</h1>
      <div className={css.headActions}>{children}</div>
    </div>
  );
}

export function Panel({ title, children, cli, actions }: { title?: string; children: ReactNode; cli?: string; actions?: ReactNode }) {
  const { t } = useI18n();
  return (
    <section className={css.panel} aria-label={title}>
      {title ? (
        <header className={css.panelHead}>
          <h2>{title}</h2>
          <span className={css.panelActions}>
            {actions}
            {cli ? <CopyButton text={cli} label={t("common.copycli")} /> : null}
          </span>
        </header>
      ) : null}
      {children}
    </section>
  );
}

export type Column<T> = { head: string; cell: (row: T) => ReactNode; number?: boolean; wide?: boolean };

export function Table<T>({ rows, columns, id, caption }: { rows: T[]; columns: Column<T>[]; id: (row: T) => string; caption: string }) {
  return (
    <div className={css.scroll} tabIndex={0} role="region" aria-label={caption}>
      <table className={css.table}>
        <caption className="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.head} scope="col" className={column.number ? css.number : undefined}>
                {column.head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)}>
              {columns.map((column) => (
                <td key={column.head} className={`${column.number ? css.number : ""} ${column.wide ? css.wideCell : ""}`}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Stat({ label, value, unit, detail }: { label: string; value: string; unit?: string; detail?: string }) {
  return (
    <div className={css.stat}>
      <span className={css.statLabel}>{label}</span>
      <span className={css.statValue}>
        {value}
        {unit ? <small>{unit}</small> : null}
      </span>
      {detail ? <span className={css.statDetail}>{detail}</span> : null}
    </div>
  );
}

export const grid = css;
