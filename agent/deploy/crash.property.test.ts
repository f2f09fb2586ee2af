/**
 * Random plans, random failures of checks and reloads, and processes that die at random moments: of the deployment, and of the
 * repair after it. In the end everything is old or everything is new.
 */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import type { OneStep } from "../../src/testing/deploy-once"
import { runOnce } from "../../src/testing/dying"

// Each case is a process or three.
setDefaultTimeout(280_000)

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-crash-"))
})
afterEach(() => rmSync(folder, { recursive: true }))

const cases = 40

const fileCase = fc.record({
  hasOld: fc.boolean(),
  isKey: fc.boolean(),
  oldMode: fc.constantFrom(0o600, 0o640, 0o644),
  place: fc.constantFrom("a", "b"),
})
const stepCase = fc.record({
  kind: fc.constantFrom("validate" as const, "reload" as const),
  fails: fc.nat(3).map((n) => n === 0),
})
/** A deployment of this size makes between forty and a hundred calls; beyond that it lives. */
const death = fc.record({ diesAt: fc.integer({ min: 1, max: 90 }), diesAfter: fc.boolean() })
const randomCase = fc.record({
  files: fc.array(fileCase, { minLength: 1, maxLength: 4 }),
  steps: fc.array(stepCase, { maxLength: 3 }),
  death,
  /** Also the repair may die, and be begun again. */
  repairDeath: fc.record({ diesAt: fc.integer({ min: 1, max: 40 }), diesAfter: fc.boolean() }),
})

test("whatever dies and fails, everything is old or everything is new, and no key is laid open", async () => {
  const endings = { done: 0, failed: 0, died: 0, repairDied: 0, old: 0, new: 0 }
  let number = 0
  await fc.assert(
    fc.asyncProperty(randomCase, async ({ files, steps, death, repairDeath }) => {
      const root = join(folder, String(++number))
      for (const place of ["a", "b"]) mkdirSync(join(root, place), { recursive: true })
      const planned = files.map(({ hasOld, isKey, oldMode, place }, index) => {
        const path = join(root, place, `f${index}`)
        if (hasOld) {
          writeFileSync(path, `old ${index}`)
          chmodSync(path, oldMode)
        }
        return {
          path,
          old: hasOld ? `old ${index}` : null,
          text: `new ${index}`,
          isKey,
          defaultMode: isKey ? 0o600 : 0o644,
        }
      })
      const commands = steps.map(({ kind, fails }, index): OneStep => {
        // Fails once: by then the old files are back, and are taken.
        const script = join(root, `step${index}.sh`)
        writeFileSync(script, fails ? `test -e ${script}.ran && exit 0; touch ${script}.ran; exit 1` : "exit 0")
        return { kind, run: { key: `${kind}_command`, command: `sh ${script}` } }
      })
      const state = join(root, "state")
      const { ending, output } = await runOnce(join(root, "one.json"), {
        folder: state,
        does: { kind: "plan", files: planned.map(({ old: _, ...file }) => file), steps: commands },
        ...death,
      })
      const mustFail = steps.some(({ fails }) => fails)
      if (ending !== "died" && (ending === "failed") !== mustFail) throw new Error(output)
      endings[ending]++
      const repair = { folder: state, does: { kind: "repair" } } as const
      if (ending === "died") {
        const first = await runOnce(join(root, "repair.json"), { ...repair, ...repairDeath })
        if (first.ending === "died") endings.repairDied++
        const last = await runOnce(join(root, "repair.json"), {
          ...repair,
          diesAt: Number.MAX_SAFE_INTEGER,
          diesAfter: false,
        })
        if (last.ending !== "done") throw new Error(last.output)
      }

      const present = planned.map(({ path }) => (existsSync(path) ? readFileSync(path, "utf8") : null))
      const isOld = planned.every(({ old }, index) => present[index] === old)
      const isNew = planned.every(({ text }, index) => present[index] === text)
      expect({ present, isWhole: isOld || isNew }).toMatchObject({ isWhole: true })
      if (ending === "done") expect(isNew).toBe(true)
      if (ending === "failed") expect(isOld).toBe(true)
      endings[isNew ? "new" : "old"]++

      const journals = join(state, "journal")
      expect(existsSync(journals) ? readdirSync(journals) : []).toEqual([])
      for (const [index, { path, isKey }] of planned.entries()) {
        const place = join(path, "..")
        for (const name of readdirSync(place).filter((entry) => entry.startsWith(`f${index}.certctl-`))) {
          expect(name).toMatch(/^f\d\.certctl-bak\.\d{19}$/)
          if (isKey) expect(statSync(join(place, name)).mode & 0o177).toBe(0)
        }
        if (isKey && isNew) expect(statSync(path).mode & 0o007).toBe(0)
        if (isOld && present[index] !== null) expect(statSync(path).mode & 0o777).toBe(files[index]?.oldMode ?? 0)
      }
    }),
    { numRuns: cases },
  )
  console.log(`${cases} random deployments: ${JSON.stringify(endings)}`)
})
