/** Reads the summary that `bun test` prints last. The exit code alone does not do: a test that calls exit(0) ends a run early with 0. */

export interface Summary {
  passed: number
  failed: number
  /** Tests marked skip or todo. */
  skipped: number
}

const escapeSequence = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g")

/**
 * The counts of the last summary in `output`, or null when there is none. A summary ends with
 * `Ran 12 tests across 3 files.` and counts above it, one per line (` 10 pass`, ` 1 fail`, ` 1 skip`).
 */
export const readSummary = (output: string): Summary | null => {
  const lines = output.replace(escapeSequence, "").split(/\r?\n/)
  const end = lines.findLastIndex((line) => /^Ran \d+ tests? across \d+ files?\./.test(line))
  if (end === -1) return null
  const counts: Record<string, number> = {}
  for (let at = end - 1; at >= 0; at--) {
    const [, number, word] = /^ *(\d+) ([a-z]+)/.exec(lines[at] ?? "") ?? []
    if (number === undefined || word === undefined) break
    counts[word] ??= Number(number)
  }
  const { pass = 0, fail = 0, error = 0, errors = error, skip = 0, todo = 0 } = counts
  // A file that cannot be loaded is an error and, since it ran nothing, not always a failed test.
  return { passed: pass, failed: Math.max(fail, errors), skipped: skip + todo }
}

const fileLine = /^\S+\.test\.tsx?:$/

/** Of each file with a failed test what it printed, at most its last `mostLines` lines, without the tests that did not fail. */
export const failureReports = (output: string, mostLines = 100): string[] => {
  const lines = output.replace(escapeSequence, "").split(/\r?\n/)
  // After the last file come the skipped and failed tests once more, by name alone.
  const end = lines.findIndex((line) => /^\d+ tests? (failed|skipped):$| +\d+ pass$/.test(line))
  // Of files that run at once each comes several times.
  const said = new Map<string, string[]>()
  let file = ""
  for (const line of end === -1 ? lines : lines.slice(0, end)) {
    if (fileLine.test(line)) file = line
    else if (line.trim() !== "" && !/^\((pass|skip|todo)\) /.test(line))
      said.set(file, [...(said.get(file) ?? []), line])
  }
  return [...said].flatMap(([title, words]) =>
    words.some((line) => line.startsWith("(fail) ")) ? [title, ...words.slice(-mostLines)].join("\n") : [],
  )
}

/** The last line of a run. Nothing but plain words, for people and for programs that read it. */
export const closingLine = ({ passed, failed, skipped }: Summary): string =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`
