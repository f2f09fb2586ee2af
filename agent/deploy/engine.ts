/**
 * Carries out deploy plans. Either everything a plan says has happened, or the host is as it was before, also when the
 * agent is killed or the power fails half-way:
 *
 *   lock, compare, journal, back up, write beside, rename all, then the plan's steps (check, reload, proof), commit.
 *
 * A failing step undoes those before it, last first.
 */
import { rename, rm } from "node:fs/promises"
import { dirname } from "node:path"
import type { Clock } from "../../src/clock"
import type { RunCommand } from "../../src/connectors/command"
import type { ProbeRequest, ProbeResult } from "../../src/connectors/probe"
import { addressOf } from "../../src/connectors/probe"
import type { DeployPlan, PlannedFile, PlanStep, ServedEndpoint } from "../../src/connectors/targets/contract"
import { AppError, messageOf } from "../../src/errors"
import {
  backUp,
  besideNames,
  createFile,
  type PresentFile,
  placementOf,
  presentFile,
  pruneBeside,
  removeIfThere,
  resolveDestination,
  restoreFrom,
  sha256Of,
  syncFolder,
} from "./durable-files"
import { type Journal, type JournalFile, type JournalStore, journalStore } from "./journal"
import { withLocks } from "./locks"

export interface EngineDeps {
  /** Where journals stand while a deployment runs. */
  readonly journalFolder: string
  readonly clock: Clock
  /** Used by plans that leave it open. */
  readonly backupRetention: number
  run: RunCommand
  probe(request: ProbeRequest): Promise<ProbeResult>
  wait(milliseconds: number): Promise<void>
  /** Told of what does not fail a deployment but should be seen. */
  warn(message: string): void
}

export interface DeployOutcome {
  /** Every file was there already: nothing was written and nothing was reloaded. */
  readonly isIdempotent: boolean
  readonly backups: readonly string[]
}

export type FailedStep = "validate" | "reload" | "verify" | "other"
/** null: nothing had been changed. */
export type Rollback = "restored" | "also_failed" | null

/** A deployment that was begun and undone, for those who count such things. */
export class DeploymentFailure extends AppError {
  constructor(
    message: string,
    readonly outcome: { readonly failedStep: FailedStep; readonly rollback: Rollback },
    cause: unknown,
  ) {
    super("upstream", message, { cause })
  }
}

interface ResolvedFile extends PlannedFile {
  readonly real: string
  readonly was: PresentFile | null
  readonly wanted: string
}

export type DeployEngine = ReturnType<typeof deployEngine>

export const deployEngine = (deps: EngineDeps) => {
  const journals = journalStore(deps.journalFolder)
  const clockNanoseconds = nanosecondCounter(deps.clock)

  return {
    /**
     * Carries out one plan. `fingerprint` is the leaf's, for proofs on the wire. Fails with `validation` before anything
     * was touched and with `upstream` after going back; the message names the step, its own words and the state left.
     */
    async deploy(plan: DeployPlan, fingerprint: string): Promise<DeployOutcome> {
      const paths = await resolvePlan(plan)
      return withLocks([...paths.values()], async () => {
        await recoverThese(deps, journals, [...paths.values()])
        const files = await Promise.all(plan.files.map((file) => inspect(file, paths.get(file.path) ?? file.path)))
        if (await isInPlace(plan, files)) return { isIdempotent: true, backups: [] }
        return carryOut(deps, journals, clockNanoseconds(), plan, files, fingerprint)
      })
    },

    /** Undoes what a killed agent left half done. Call at start, before any work is taken. Returns what was repaired. */
    async recover(): Promise<string[]> {
      const repaired: string[] = []
      await journals.removeHalfWritten()
      for (const journal of await journals.all()) {
        const paths = journal.files.map(({ path }) => path)
        repaired.push(...(await withLocks(paths, () => goBackFrom(deps, journals, journal))))
      }
      return repaired
    },
  }
}

/** Destination paths with every link followed. Fails with `validation` when the plan makes no sense. */
const resolvePlan = async (plan: DeployPlan): Promise<Map<string, string>> => {
  if (plan.files.length === 0 && plan.steps.length === 0) throw new AppError("validation", "the plan has nothing to do")
  const paths = new Map<string, string>()
  const taken = new Set<string>()
  for (const { path } of plan.files) {
    const real = await resolveDestination(path)
    if (taken.has(real))
      throw new AppError("validation", `${path} is written twice: every file needs a path of its own`)
    taken.add(real)
    paths.set(path, real)
  }
  return paths
}

const isInPlace = async (plan: DeployPlan, files: readonly ResolvedFile[]): Promise<boolean> =>
  plan.isInPlace === undefined
    ? files.length > 0 && files.every(({ was, wanted }) => was?.sha256 === wanted)
    : plan.isInPlace()

const inspect = async (file: PlannedFile, real: string): Promise<ResolvedFile> => ({
  ...file,
  real,
  was: await presentFile(real),
  wanted: sha256Of(file.bytes),
})

const carryOut = async (
  deps: EngineDeps,
  journals: JournalStore,
  id: string,
  plan: DeployPlan,
  files: readonly ResolvedFile[],
  fingerprint: string,
): Promise<DeployOutcome> => {
  const placements = files.map((file) => placementOf(file, file.was))
  const answering = await endpointsAnswering(deps, plan.steps)
  const journal: Journal = {
    id,
    address: plan.address,
    files: files.map(({ real, was, wanted }) => ({
      path: real,
      temporary: besideNames.temporary(real, id),
      backup: besideNames.backup(real, id),
      wanted,
      was,
    })),
    reloads: [],
  }
  await journals.write(journal)

  const begun: PlanStep[] = []
  let failedStep: FailedStep = "other"
  let stepName = "writing the files"
  try {
    await writeAll(files, placements, journal.files)
    for (const step of plan.steps) {
      stepName = nameOf(step)
      failedStep = step.kind === "probe" ? "verify" : step.kind === "action" ? "other" : step.kind
      begun.push(step)
      if (step.kind === "reload") {
        journal.reloads.push(step.run)
        await journals.write(journal)
      }
      await perform(deps, step, fingerprint, answering)
    }
    stepName = "committing"
    failedStep = "other"
    await journals.remove(id)
  } catch (error) {
    const { state, rollback } = await goBack(deps, journals, journal, begun)
    throw new DeploymentFailure(`${stepName} failed: ${messageOf(error)}; ${state}`, { failedStep, rollback }, error)
  }

  // From here on the deployment stands: untidiness is worth a warning, not a failure.
  for (const step of begun) {
    if (step.kind !== "action") continue
    await step.settle?.().catch((error) => deps.warn(`tidying up after ${step.name}: ${messageOf(error)}`))
  }
  const keep = plan.backupRetention ?? deps.backupRetention
  for (const { path } of journal.files) {
    await pruneBeside(path, keep, deps.clock.now()).catch((error) =>
      deps.warn(`old backups of ${path} could not be removed: ${messageOf(error)}`),
    )
  }
  return {
    isIdempotent: false,
    backups: keep === 0 ? [] : journal.files.filter(({ was }) => was !== null).map(({ backup }) => backup),
  }
}

const nameOf = (step: PlanStep): string => {
  switch (step.kind) {
    case "validate":
      return "the check of the new files"
    case "reload":
      return "the reload"
    case "probe":
      return "the proof on the wire"
    case "action":
      return step.name
  }
}

/** Everything is on the disk beside its destination before the first rename, so that what can fail has failed by then. */
const writeAll = async (
  files: readonly ResolvedFile[],
  placements: readonly ReturnType<typeof placementOf>[],
  entries: readonly JournalFile[],
): Promise<void> => {
  const folders = new Set(entries.map(({ path }) => dirname(path)))
  for (const [index, entry] of entries.entries()) {
    const file = files[index]
    const placement = placements[index]
    if (file === undefined || placement === undefined) continue
    if (entry.was !== null) await backUp(entry.path, entry.backup, entry.was, file.isKey)
    await createFile(entry.temporary, {
      bytes: file.bytes,
      ...placement,
      like: entry.was === null ? null : entry.path,
    })
  }
  for (const folder of folders) await syncFolder(folder)
  for (const { temporary, path } of entries) await rename(temporary, path)
  for (const folder of folders) await syncFolder(folder)
  // "Delivered" means read back, not sent off.
  for (const { path, wanted } of entries) {
    if ((await presentFile(path))?.sha256 !== wanted)
      throw new AppError("internal", `${path} does not hold what was written`)
  }
}

const perform = async (
  deps: EngineDeps,
  step: PlanStep,
  fingerprint: string,
  answering: ReadonlySet<PlanStep>,
): Promise<void> => {
  switch (step.kind) {
    case "validate":
    case "reload":
      return deps.run(step.run)
    case "action":
      return step.run()
    case "probe":
      return proveServed(deps, step.endpoint, fingerprint, answering.has(step))
  }
}

/** An endpoint that is not up proves nothing about a deployment, so it is asked before anything changes. */
const endpointsAnswering = async (deps: EngineDeps, steps: readonly PlanStep[]): Promise<Set<PlanStep>> => {
  const answering = new Set<PlanStep>()
  for (const step of steps) {
    if (step.kind === "probe" && (await deps.probe(step.endpoint)).ok) answering.add(step)
  }
  return answering
}

const proveServed = async (
  deps: EngineDeps,
  endpoint: ServedEndpoint,
  fingerprint: string,
  didAnswer: boolean,
): Promise<void> => {
  const address = addressOf(endpoint.host, endpoint.port)
  let problem = ""
  let delayMs = endpoint.backoffMs
  for (let attempt = 1; attempt <= endpoint.attempts; attempt++) {
    const result = await deps.probe(endpoint)
    if (result.ok && result.served.fingerprint === fingerprint) return
    problem = result.ok
      ? `${address} serves ${result.served.fingerprint} instead of ${fingerprint}`
      : `${address}: ${result.error}`
    if (attempt < endpoint.attempts) await deps.wait(delayMs)
    delayMs = Math.min(delayMs * 2, endpoint.maxBackoffMs)
  }
  if (didAnswer) throw new AppError("upstream", problem)
  deps.warn(`${problem}; it did not answer before the deployment either, so the files stay`)
}

/** Undoes a deployment and says how the host is left, in words too. Never throws. */
const goBack = async (
  deps: EngineDeps,
  journals: JournalStore,
  journal: Journal,
  begun: readonly PlanStep[],
): Promise<{ state: string; rollback: Rollback }> => {
  const problems: string[] = []
  for (const step of begun.toReversed()) {
    if (step.kind !== "action") continue
    await step.undo().catch((error) => problems.push(`undoing ${step.name}: ${messageOf(error)}`))
  }
  try {
    const repaired = await goBackFrom(deps, journals, journal)
    if (problems.length === 0) {
      if (repaired.length === 0) return { state: "nothing was changed", rollback: null }
      return { state: `the previous files were restored (${repaired.join("; ")})`, rollback: "restored" }
    }
  } catch (error) {
    problems.push(messageOf(error))
  }
  const backups = journal.files.filter(({ was }) => was !== null).map(({ backup }) => backup)
  const state = `rollback failed, somebody has to look: ${problems.join("; ")}; backups: ${backups.join(", ") || "none"}`
  return { state, rollback: "also_failed" }
}

const recoverThese = async (deps: EngineDeps, journals: JournalStore, paths: readonly string[]): Promise<void> => {
  for (const journal of await journals.all()) {
    if (!journal.files.some(({ path }) => paths.includes(path))) continue
    for (const line of await goBackFrom(deps, journals, journal)) deps.warn(line)
  }
}

/**
 * Brings the files of a journal back and, where the service may have read the new ones, has it read the old ones. May be
 * repeated: what is back already is left alone. The journal goes only when all files are back. Returns what was done.
 */
const goBackFrom = async (deps: EngineDeps, journals: JournalStore, journal: Journal): Promise<string[]> => {
  const done: string[] = []
  const problems: string[] = []
  for (const entry of journal.files.toReversed()) {
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

/** Nineteen digits that only grow: they order backups by age, and two in the same millisecond differ. */
const nanosecondCounter = (clock: Clock) => {
  let last = 0n
  return (): string => {
    const now = BigInt(clock.now().getTime()) * 1_000_000n
    last = now > last ? now : last + 1n
    return last.toString().padStart(19, "0")
  }
}
