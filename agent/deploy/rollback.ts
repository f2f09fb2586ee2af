/** The way back: from a deployment that failed, and from one that was killed and has left its journal. */
import { rm } from "node:fs/promises"
import { dirname } from "node:path"
import type { RunCommand } from "../../src/connectors/command"
import type { PlanStep } from "../../src/connectors/targets/contract"
import { AppError, messageOf } from "../../src/errors"
import { presentFile, removeIfThere, restoreFrom, syncFolder } from "./durable-files"
import type { Journal, JournalFile, JournalStore } from "./journal"

interface RollbackDeps {
  run: RunCommand
  warn(message: string): void
}

/** null: nothing had been changed. */
export type Rollback = "restored" | "also_failed" | null

/** Undoes a deployment and says how the host is left, in words too. Never throws. */
export const goBack = async (
  deps: RollbackDeps,
  journals: JournalStore,
  journal: Journal,
  begun: readonly PlanStep[],
): Promise<{ state: string; rollback: Rollback }> => {
  const problems: string[] = []
  const undone: string[] = []
  for (const step of begun.toReversed()) {
    if (step.kind !== "action") continue
    await step.undo().then(
      () => undone.push(`${step.name} undone`),
      (error) => problems.push(`undoing ${step.name}: ${messageOf(error)}`),
    )
  }
  try {
    const repaired = await goBackFrom(deps, journals, journal)
    if (problems.length === 0) {
      const all = [...undone, ...repaired].join("; ")
      if (repaired.length > 0) return { state: `the previous files were restored (${all})`, rollback: "restored" }
      // What an action did before it failed, only its undo knows: "nothing" would promise too much.
      if (undone.length > 0) return { state: `it was taken back (${all})`, rollback: "restored" }
      return { state: "nothing was changed", rollback: null }
    }
  } catch (error) {
    problems.push(messageOf(error))
  }
  const backups = journal.files.filter(({ was }) => was !== null).map(({ backup }) => backup)
  const state = `rollback failed, somebody has to look: ${problems.join("; ")}; backups: ${backups.join(", ") || "none"}`
  return { state, rollback: "also_failed" }
}

/** Brings back what a killed deployment left of these files. */
export const recoverThese = async (
  deps: RollbackDeps,
  journals: JournalStore,
  paths: readonly string[],
): Promise<void> => {
  for (const journal of await journals.all()) {
    if (!journal.files.some(({ path }) => paths.includes(path))) continue
    for (const line of await goBackFrom(deps, journals, journal)) deps.warn(line)
  }
}

/**
 * Brings the files of a journal back and, where the service may have read the new ones, has it read the old ones. May be
 * repeated: what is back already is left alone. The journal goes only when all files are back. Returns what was done.
 */
export const goBackFrom = async (deps: RollbackDeps, journals: JournalStore, journal: Journal): Promise<string[]> => {
  const done: string[] = []
  const problems: string[] = []
  // In the order of the plan here too: a service that watches its files acts on the last one, and must find the rest done.
  for (const entry of journal.files) {
    try {
      const line = await restoreOne(entry)
      if (line !== null) done.push(line)
    } catch (error) {
      problems.push(`${entry.path}: ${messageOf(error)}`)
    }
  }
  if (problems.length > 0) throw new AppError("internal", `files could not be restored: ${problems.join("; ")}`)

  for (const reload of journal.reloads) {
    try {
      await deps.run(reload)
      done.push(`${reload.key} ran again`)
    } catch (error) {
      // The old files are in place; whether the service took them is what nobody can say now.
      done.push(`but the service may not have read them: ${messageOf(error)}`)
    }
  }
  for (const { path, temporary, backup, was } of journal.files) {
    await removeIfThere(temporary)
    // Where somebody else wrote in between, the backup is the only copy of what stood there before us.
    if ((await presentFile(path))?.sha256 === was?.sha256) await removeIfThere(backup)
  }
  await journals.remove(journal.id)
  return done
}

/** What was done to one file, or null when it is as it was. */
const restoreOne = async ({ path, temporary, backup, wanted, was }: JournalFile): Promise<string | null> => {
  const now = await presentFile(path)
  if (now?.sha256 === was?.sha256 && now?.mode === was?.mode && now?.uid === was?.uid && now?.gid === was?.gid) {
    return null
  }
  if (now !== null && now.sha256 !== wanted) {
    return `${path} was changed by somebody else meanwhile and was left as it is`
  }
  if (was === null) {
    await rm(path, { force: true })
    await syncFolder(dirname(path))
    return `${path} removed`
  }
  await restoreFrom(backup, path, temporary, was)
  return `${path} restored`
}
