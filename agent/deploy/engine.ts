/**
 * Carries out deploy plans. Either everything a plan says has happened, or the host is as it was before, also when the
 * agent is killed or the power fails half-way:
 *
 *   lock, compare, journal, back up, write beside, rename all, then the plan's steps (check, reload, proof), commit.
 *   A check that does not read the files comes before they are renamed.
 *
 * A failing step undoes those before it, last first.
 */
import { readFile, rename } from "node:fs/promises"
import { dirname } from "node:path"
import type { Clock } from "../../src/clock"
import type { RunCommand } from "../../src/connectors/command"
import type { ProbeRequest, ProbeResult } from "../../src/connectors/probe"
import type { DeployPlan, MergedFile, PlannedFile, PlanStep } from "../../src/connectors/targets/contract"
import { AppError, messageOf } from "../../src/errors"
import {
  backUp,
  besideNames,
  createFile,
  type PresentFile,
  placementOf,
  presentFile,
  pruneBeside,
  resolveDestination,
  sha256Of,
  syncFolder,
} from "./durable-files"
import { type Journal, type JournalFile, type JournalStore, journalStore } from "./journal"
import { withLocks } from "./locks"
import { endpointsAnswering, proveServed } from "./proof"
import { goBack, goBackFrom, type Rollback, recoverThese } from "./rollback"

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
      return withLocks([...paths.values(), ...(plan.locks ?? [])], async () => {
        await recoverThese(deps, journals, [...paths.values()])
        if (await plan.isInPlace?.()) return { isIdempotent: true, backups: [] }
        const real = ({ path }: { path: string }) => paths.get(path) ?? path
        const merged = await Promise.all((plan.mergedFiles ?? []).map((file) => mergeInto(file, real(file))))
        const files = await Promise.all([...plan.files, ...merged].map((file) => inspect(file, real(file))))
        if (
          plan.isInPlace === undefined &&
          files.length > 0 &&
          files.every(({ was, wanted }) => was?.sha256 === wanted)
        ) {
          return { isIdempotent: true, backups: [] }
        }
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
  const files = [...plan.files, ...(plan.mergedFiles ?? [])]
  if (files.length === 0 && plan.steps.length === 0) throw new AppError("validation", "the plan has nothing to do")
  const paths = new Map<string, string>()
  const taken = new Set<string>()
  for (const { path } of files) {
    const real = await resolveDestination(path)
    if (taken.has(real))
      throw new AppError("validation", `${path} is written twice: every file needs a path of its own`)
    taken.add(real)
    paths.set(path, real)
  }
  return paths
}

const mergeInto = async ({ merge, ...place }: MergedFile, real: string): Promise<PlannedFile> => {
  const isThere = (await presentFile(real)) !== null
  return { ...place, bytes: await merge(isThere ? await readFile(real) : null) }
}

const inspect = async (file: PlannedFile, real: string): Promise<ResolvedFile> => {
  try {
    return { ...file, real, was: await presentFile(real), wanted: sha256Of(file.bytes) }
  } catch (error) {
    // Most often an agent that is not root, before a file that is another's.
    const words = `${file.path} cannot be read, so it could not be put back: ${messageOf(error)}; nothing was changed`
    throw new AppError("validation", words, { cause: error })
  }
}

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
    files: files.map(({ real, was, wanted, backupFolder }) => ({
      path: real,
      temporary: besideNames.temporary(real, id),
      backup: besideNames.backup(real, id, backupFolder),
      wanted,
      was,
    })),
    reloads: [],
  }
  await journals.write(journal)

  const begun: PlanStep[] = []
  let failedStep: FailedStep = "other"
  let stepName = "writing the files"
  const undone = async (error: unknown): Promise<DeploymentFailure> => {
    const { state, rollback } = await goBack(deps, journals, journal, begun)
    const message = `${stepName} failed: ${messageOf(error)}; ${state}`
    return new DeploymentFailure(message, { failedStep, rollback }, error)
  }
  try {
    await writeBeside(files, placements, journal.files)
  } catch (error) {
    throw await undone(error)
  }
  const begin = async (step: PlanStep): Promise<void> => {
    stepName = nameOf(step)
    failedStep = step.kind === "probe" ? "verify" : step.kind === "action" ? "other" : step.kind
    begun.push(step)
    if (step.kind === "reload") {
      journal.reloads.push(step.run)
      await journals.write(journal)
    }
    await perform(deps, step, fingerprint, answering)
  }
  await withLocks(servicesOf(plan), async () => {
    try {
      for (const step of plan.steps) if (isBeforeFiles(step)) await begin(step)
      stepName = "writing the files"
      failedStep = "other"
      await swap(journal.files)
      for (const step of plan.steps) if (!isBeforeFiles(step)) await begin(step)
      stepName = "committing"
      failedStep = "other"
      await journals.remove(id)
    } catch (error) {
      throw await undone(error)
    }
  })

  // From here on the deployment stands: untidiness is worth a warning, not a failure.
  for (const step of begun) {
    if (step.kind !== "action") continue
    await step.settle?.().catch((error) => deps.warn(`tidying up after ${step.name}: ${messageOf(error)}`))
  }
  const keep = plan.backupRetention ?? deps.backupRetention
  for (const { real, backupFolder } of files) {
    await pruneBeside(real, keep, deps.clock.now(), backupFolder).catch((error) =>
      deps.warn(`old backups of ${real} could not be removed: ${messageOf(error)}`),
    )
  }
  return {
    isIdempotent: false,
    backups: keep === 0 ? [] : journal.files.filter(({ was }) => was !== null).map(({ backup }) => backup),
  }
}

const isBeforeFiles = (step: PlanStep): boolean => step.kind === "validate" && step.isBeforeFiles === true

const nameOf = (step: PlanStep): string => {
  switch (step.kind) {
    case "validate":
      return isBeforeFiles(step) ? "the check of the service's configuration" : "the check of the new files"
    case "reload":
      return "the reload"
    case "probe":
      return "the proof on the wire"
    case "action":
      return step.name
  }
}

/**
 * The services a plan has judge or read files, told apart by their commands. Their check looks at all they are configured with,
 * so one deployment must not see the half-swapped pair of another, nor the bad files that another is about to take back.
 */
const servicesOf = ({ steps }: DeployPlan): string[] =>
  steps.flatMap((step) => (step.kind === "validate" || step.kind === "reload" ? [`service ${step.run.command}`] : []))

/** Everything is on the disk beside its destination before the first rename, so that what can fail has failed by then. */
const writeBeside = async (
  files: readonly ResolvedFile[],
  placements: readonly ReturnType<typeof placementOf>[],
  entries: readonly JournalFile[],
): Promise<void> => {
  const folders = new Set(entries.flatMap(({ path, backup }) => [dirname(path), dirname(backup)]))
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
}

const swap = async (entries: readonly JournalFile[]): Promise<void> => {
  for (const { temporary, path } of entries) await rename(temporary, path)
  for (const folder of new Set(entries.map(({ path }) => dirname(path)))) await syncFolder(folder)
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
      return deps.run(step.run)
    case "reload":
      return deps.run(step.run).catch((error) => {
        if (step.isOptional !== true) throw error
        deps.warn(`the new files are in place, but the service was not told of them: ${messageOf(error)}`)
      })
    case "action":
      return step.run()
    case "probe":
      return proveServed(deps, step.endpoint, fingerprint, answering.has(step))
  }
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
