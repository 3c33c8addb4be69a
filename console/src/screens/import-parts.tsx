/** Parts of the import screens: the steps, the figures, the refused rows and the examples. */
import { Link } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { data } from "../api/client";
import { getImportErrors, type ImportDetail } from "../api/generated";
import { CsvReader } from "../api/people-export";
import { sentenceOf } from "../api/problem";
import { count, phone } from "../format";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { Button, scrolls } from "../ui/parts";
import { importField, importOutcome } from "../ui/code-names";

export function BackToImports() {
  return (
    <Link to="/imports" search={{}} className="back" aria-label={t("Imports")}>
      <Icon name="left" />
    </Link>
  );
}

export function Steps({ at }: { at: 0 | 1 | 2 }) {
  return (
    <ol className="steps" aria-label={t("Steps")}>
      {[t("Choose a file"), t("Check"), t("Import")].map((name, index) => (
        <li key={name} aria-current={index === at ? "step" : undefined}>
          <i aria-hidden="true">{index + 1}</i>
          {name}
        </li>
      ))}
    </ol>
  );
}

export type Figure = [name: string, label: string, value: number];

export function Figures({ figures }: { figures: Figure[] }) {
  return (
    <dl className="tally">
      {figures.map(([name, label, value]) => (
        <div key={name}>
          <dt>{label}</dt>
          <dd data-figure={name} data-value={value}>{count(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

function labels(one: ImportDetail): { created: string; updated: string; unchanged: string; twice: string } {
  const would = one.dry_run;
  if (one.kind === "outcomes") {
    return { created: would ? t("New outcomes") : t("Outcomes added"), updated: t("Changed"), unchanged: t("Known already"), twice: t("Twice in the file") };
  }
  return {
    created: would ? t("New contacts") : t("Contacts added"), updated: would ? t("Would change") : t("Contacts changed"),
    unchanged: t("Stay as they are"), twice: t("Twice in the file"),
  };
}

export function Tally({ one }: { one: ImportDetail }) {
  const words = labels(one);
  const figures: Figure[] = [
    ["rows_total", t("Rows"), one.rows_total ?? one.rows_processed],
    ["created", words.created, one.created],
    ...(one.kind === "outcomes" ? [] : [["updated", words.updated, one.updated] as Figure]),
    ["unchanged", words.unchanged, one.unchanged],
    ["duplicates_in_file", words.twice, one.duplicates_in_file],
    ["invalid", t("Rows not usable"), one.invalid],
  ];
  return <Figures figures={figures} />;
}

/** Show the file lines with the phone number of an earlier line. The API lists the first 100. */
export function Repeats({ one }: { one: ImportDetail }) {
  const lines = one.repeated_lines;
  if (!lines.length) return null;
  const isAll = lines.length === one.duplicates_in_file;
  return (
    <details className="card card-body">
      <summary>{t("{n, plural, one {# line repeats the number of an earlier line} other {# lines repeat the number of an earlier line}}", { n: one.duplicates_in_file })}</summary>
      <p className="faint">{t("The earlier line counts; these are left out.")}{!isAll && ` ${t("These are the first {n}.", { n: lines.length })}`}</p>
      <ul className="repeats">
        {lines.map(({ line, first_line: first }, at) => <li key={at}>{t("Line {line} repeats line {first}", { line, first })}</li>)}
      </ul>
    </details>
  );
}

const SHOWN = 20;
/**
 * The apostrophe that the API puts before a value, so that a spreadsheet does not run it as a
 * formula. The imported file does not contain the apostrophe.
 */
const GUARD = /^'(?=[=+@-])/;

/** Show the first rows that could not be read, and offer all as CSV. `csv` reads the CSV file. */
export function RefusedRows({ name, query, csv }: { name: string; query: unknown[]; csv: () => Promise<string> }) {
  const found = useQuery({ queryKey: query, queryFn: csv });
  if (found.isLoadingError) return <p className="field-error" role="alert">{sentenceOf(found.error)}</p>;
  const text = found.data ?? "";
  const reader = new CsvReader();
  const [head = [], ...rows] = [...reader.read(text), ...reader.end()];
  if (!rows.length) return null;
  const place = (column: string) => head.indexOf(column);
  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `errors-${name.replace(/\.(csv|txt|xlsx)$/i, "")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1_000);
  };
  return (
    <section className="card" aria-labelledby="errors-title">
      <div className="card-head">
        <h2 id="errors-title">{t("{n, plural, one {# value} other {# values}} could not be read", { n: rows.length })}</h2>
        <Button icon="imports" onClick={save}>{t("Save as CSV")}</Button>
      </div>
      <div className="scroll-x" ref={scrolls}>
        <table className="table">
          <thead>
            <tr>
              <th className="end">{t("Line")}</th>
              <th>{t("Column")}</th>
              <th>{t("Value")}</th>
              <th>{t("Why")}</th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, SHOWN).map((row, at) => (
              <tr key={at}>
                <td className="end">{row[place("line")]}</td>
                <td>{row[place("column")]}</td>
                <td><div className="example">{row[place("value")]?.replace(GUARD, "")}</div></td>
                <td>{row[place("reason")]}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > SHOWN && <p className="card-body faint">{t("The file has all {n}.", { n: count(rows.length) })}</p>}
    </section>
  );
}

export function Errors({ one }: { one: ImportDetail }) {
  const read = async () => String(await data(getImportErrors({ path: { import_id: one.id }, parseAs: "text", headers: { Accept: "text/csv" } as never, throwOnError: true }) as never));
  return <RefusedRows name={one.file_name ?? "import"} query={["import", one.id, "errors", one.finished_at]} csv={read} />;
}

const FIRST = ["first_name", "last_name", "company", "email"];
/** Return the rank of a field. Names come first, so that the user recognises the person. */
const weight = (field: string): number => (FIRST.indexOf(field) + 1 || FIRST.length + 1);

export function Examples({ one }: { one: ImportDetail }) {
  if (!one.sample.length) return null;
  return (
    <section className="card" aria-labelledby="examples-title">
      <h2 id="examples-title">{t("Examples of what changes")}</h2>
      <div className="scroll-x" ref={scrolls}>
        <table className="table">
          <thead>
            <tr>
              <th className="end">{t("Line")}</th>
              <th>{t("Phone")}</th>
              <th>{t("Result")}</th>
              <th>{t("Changes")}</th>
            </tr>
          </thead>
          <tbody>
            {one.sample.slice(0, 8).map((row) => (
              <tr key={row.line + row.phone}>
                <td className="end">{row.line}</td>
                <td className="number">{phone(row.phone)}</td>
                <td>{importOutcome(row.outcome)}</td>
                <td className="faint">
                  {Object.entries(row.changes).sort(([one], [other]) => weight(one) - weight(other)).slice(0, 4).map(([field, value]) => `${importField(field.replace("attributes.", ""))}: ${String((value as { after: unknown }).after ?? "–")}`).join(" · ")}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
