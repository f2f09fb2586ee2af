/** What commands print: aligned tables, `key: value` lines, indented JSON. Results go to stdout, everything else to stderr. */

export const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

/** For people: progress, hints, warnings. */
export const note = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

/** What comes from CAs and hosts must not move the cursor or break a row. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ")

export type Cell = string | number | boolean | null | undefined

const cellText = (cell: Cell): string =>
  cell === null || cell === undefined || cell === "" ? "-" : printable(String(cell))

/** Columns as wide as their widest cell, two blanks between them. */
export const table = (headers: readonly string[], rows: readonly (readonly Cell[])[]): string => {
  const lines = [headers, ...rows.map((row) => row.map(cellText))]
  const widths = headers.map((_, column) => Math.max(...lines.map((line) => Bun.stringWidth(line[column] ?? ""))))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - Bun.stringWidth(cell)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n")
}

/** One `Label: value` a line, the values aligned. */
export const lines = (pairs: readonly (readonly [label: string, value: Cell])[]): string => {
  const width = Math.max(...pairs.map(([label]) => label.length))
  return pairs.map(([label, value]) => `${`${label}:`.padEnd(width + 2)}${cellText(value)}`).join("\n")
}

/** A wire time; null where it stands for "none": years before 2000 do. */
const instant = (time: string | undefined): Date | null => {
  const date = new Date(time ?? "")
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() < 2000 ? null : date
}

/** `YYYY-MM-DD` in UTC. */
export const day = (time: string | undefined): string | null => instant(time)?.toISOString().slice(0, 10) ?? null

/** `YYYY-MM-DD HH:MM:SSZ`, where the day alone says too little. */
export const moment = (time: string | undefined): string | null =>
  instant(time)
    ?.toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "Z") ?? null
