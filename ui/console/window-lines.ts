/** Deployment windows as people type them: one line each, such as `mon-fri 22:00-04:00`. */
import { type DeploymentWindows, weekdays } from "../../src/rollouts/deployment-window"

type Window = DeploymentWindows["windows"][number]

/** `mon-fri`, `sat,sun`, `daily`; a word that is no day stays, so that the schema refuses it by its name. */
const daysIn = (text: string): string[] =>
  text
    .toLowerCase()
    .split(",")
    .flatMap((part) => {
      if (part === "daily") return [...weekdays]
      const [first, last] = part.split("-").map((name) => (weekdays as readonly string[]).indexOf(name))
      if (first === undefined || last === undefined || first < 0 || last < 0) return part === "" ? [] : [part]
      const length = ((last - first + 7) % 7) + 1
      return Array.from({ length }, (_, index) => weekdays[(first + index) % 7] ?? "mon")
    })

/** As the API takes them; what a line lacks is empty there, so that it is refused. */
export const windowsIn = (lines: readonly string[]): { days: string[]; from: string; to: string }[] =>
  lines.map((line) => {
    const [, days = "", from = "", to = ""] = /^(\S*(?:\s*,\s*\S+)*)\s+(\S+?)\s*-\s*(\S+)$/.exec(line.trim()) ?? [
      "",
      line,
    ]
    return { days: daysIn(days.replaceAll(/\s/g, "")), from, to }
  })

const daysText = (days: Window["days"]): string => {
  if (days.length === weekdays.length) return "daily"
  const first = days[0] === undefined ? -1 : weekdays.indexOf(days[0])
  const isRun = days.length > 2 && days.every((day, index) => day === weekdays[first + index])
  return isRun ? `${days[0]}-${days.at(-1)}` : days.join(",")
}

/** One line for each window. */
export const windowLines = ({ windows }: DeploymentWindows): string[] =>
  windows.map(({ days, from, to }) => `${daysText(days)} ${from}-${to}`)
