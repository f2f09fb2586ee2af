/**
 * Properties of state machines under concurrency: random batches of commands, those of a batch at the same moment and from two
 * servers. CERTCTL_PROPERTY_RUNS sets how many histories are tried, CERTCTL_PROPERTY_SEED repeats those of a failure.
 */
import { test } from "bun:test"
import fc from "fast-check"
import type { Db } from "../db/db"
import { AppError, type ErrorCode } from "../errors"
import { onEachDialect, openBeside } from "./on-each-dialect"

export interface Race<Command, World> {
  /** One thing that somebody does. */
  readonly command: fc.Arbitrary<Command>
  /** What all histories of a test share; `servers` are two handles of one database. */
  open(servers: readonly [Db, Db]): Promise<World>
  /** Fresh rows for one history. */
  begin(world: World): Promise<unknown>
  /** `server` is 0 or 1. */
  perform(world: World, command: Command, server: number): Promise<unknown>
  /** Throws when something is not as it must be. Runs after every batch, when nothing is under way. */
  check(world: World): Promise<void>
  /** What callers are told when they ask for what is not possible at the moment. */
  readonly refusals: readonly ErrorCode[]
  /** How many histories are tried where each takes longer than usual, as a part of the usual number. */
  readonly share?: number
}

/** PostgreSQL takes several times as long, and adds real interleavings to the same rules. */
const usualRuns = { sqlite: 25, postgres: 10 } as const

const wanted = process.env.CERTCTL_PROPERTY_RUNS
const seed = process.env.CERTCTL_PROPERTY_SEED

/** A test per dialect that no history leads to a bad state. */
export const race = <Command, World>(machine: string, rules: Race<Command, World>): void => {
  const { command, open, begin, perform, check, refusals, share = 1 } = rules
  const step = fc.array(fc.tuple(command, fc.constantFrom(0, 1)), { minLength: 1, maxLength: 5 })
  const history = fc.array(step, { minLength: 2, maxLength: 10 })

  const attempt = async (work: Promise<unknown>): Promise<void> => {
    try {
      await work
    } catch (error) {
      if (!(error instanceof AppError) || !refusals.includes(error.code)) throw error
    }
  }

  onEachDialect(machine, (openDb, dialect) => {
    test("keeps its rules in every history, whoever is at it at the same moment", async () => {
      const db = await openDb()
      const world = await open([db, await openBeside(db)])
      const property = fc.asyncProperty(history, async (steps) => {
        await begin(world)
        await check(world)
        for (const batch of steps) {
          await Promise.all(batch.map(([action, server]) => attempt(perform(world, action, server))))
          await check(world)
        }
      })
      const numRuns = wanted === undefined ? Math.ceil(usualRuns[dialect] * share) : Number(wanted)
      await fc.assert(property, { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) })
    }, 3_600_000)
  })
}
