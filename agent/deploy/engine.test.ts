import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { systemClock } from "../../src/clock"
import { commandRunner } from "../../src/connectors/command"
import type { ProbeResult } from "../../src/connectors/probe"
import type { DeployPlan, PlannedFile, PlanStep } from "../../src/connectors/targets/contract"
import { peer } from "../../src/testing/peers"
import { until } from "../../src/testing/until"
import { deployEngine, type EngineDeps } from "./engine"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "certctl-engine-"))
})
afterEach(() => rmSync(folder, { recursive: true }))

const setfacl = peer("setfacl", "acl")
const isRoot = process.getuid?.() === 0
const fingerprint = "f".repeat(64)

const engineIn = (parts: Partial<EngineDeps> = {}) => {
  const warnings: string[] = []
  const waits: number[] = []
  const engine = deployEngine({
    journalFolder: join(folder, "journal"),
    clock: systemClock,
    backupRetention: 3,
    run: commandRunner({ allowedPrograms: [] }),
    probe: async ({ host, port }) => ({ address: `${host}:${port}`, responseMs: 1, ok: false, error: "refused" }),
    wait: async (milliseconds) => void waits.push(milliseconds),
    warn: (message) => warnings.push(message),
    ...parts,
  })
  return { engine, warnings, waits }
}

const at = (name: string) => join(folder, name)
const file = (name: string, text: string, rest: Partial<PlannedFile> = {}): PlannedFile => ({
  path: at(name),
  bytes: Buffer.from(text),
  isKey: false,
  defaultMode: 0o644,
  ...rest,
})
const plan = (files: PlannedFile[], steps: PlanStep[] = [], rest: Partial<DeployPlan> = {}): DeployPlan => ({
  address: at("service"),
  deploymentId: "test-1",
  files,
  steps,
  backupRetention: undefined,
  ...rest,
})
const command = (line: string, key = "reload_command") => ({ key, command: line })
const text = (name: string) => readFileSync(at(name), "utf8")
const mode = (name: string) => statSync(at(name)).mode & 0o7777
const leftovers = () =>
  readdirSync(folder)
    .filter((name) => name.includes(".certctl-"))
    .sort()
const journals = () => (existsSync(at("journal")) ? readdirSync(at("journal")) : [])

/** A script that notes each of its runs and fails on those whose numbers are given. */
const script = (name: string, failing: readonly number[] = []): string => {
  writeFileSync(
    at(`${name}.sh`),
    `echo run >> ${at(`${name}.runs`)}; n=$(wc -l < ${at(`${name}.runs`)}); echo "${name} says no to run $n" >&2
case " ${failing.join(" ")} " in *" $n "*) exit 3;; esac`,
  )
  return `sh ${at(`${name}.sh`)}`
}
const runs = (name: string) => (existsSync(at(`${name}.runs`)) ? text(`${name}.runs`).split("\n").length - 1 : 0)

describe("writing", () => {
  test("creates files with the connector's modes and the key closed to everybody else", async () => {
    await engineIn().engine.deploy(
      plan([file("c.pem", "C"), file("k.pem", "K", { isKey: true, defaultMode: 0o600 })]),
      "",
    )
    expect([text("c.pem"), text("k.pem")]).toEqual(["C", "K"])
    expect([mode("c.pem"), mode("k.pem")]).toEqual([0o644, 0o600])
    expect(leftovers()).toEqual([])
    expect(journals()).toEqual([])
  })

  test.skipIf(!isRoot)("keeps owner and mode of what it replaces, but never a world-readable key", async () => {
    for (const name of ["c.pem", "k.pem", "open.key"]) writeFileSync(at(name), "old")
    chmodSync(at("c.pem"), 0o664)
    chmodSync(at("k.pem"), 0o640)
    chmodSync(at("open.key"), 0o644)
    for (const name of ["c.pem", "k.pem", "open.key"]) chownSync(at(name), 33, 34)
    const key = { isKey: true, defaultMode: 0o600 }
    const { backups } = await engineIn().engine.deploy(
      plan([file("c.pem", "C"), file("k.pem", "K", key), file("open.key", "O", key)]),
      "",
    )
    expect([mode("c.pem"), mode("k.pem"), mode("open.key")]).toEqual([0o664, 0o640, 0o600])
    for (const name of ["c.pem", "k.pem", "open.key"])
      expect([statSync(at(name)).uid, statSync(at(name)).gid]).toEqual([33, 34])
    for (const backup of backups.slice(1)) expect(statSync(backup).mode & 0o007).toBe(0)
  })

  test.skipIf(!isRoot)(
    "takes the operator's owner and mode before all others, and refuses accounts that do not exist",
    async () => {
      writeFileSync(at("c.pem"), "old")
      const { engine } = engineIn()
      await engine.deploy(plan([file("c.pem", "C", { mode: 0o604, owner: { user: "www-data", group: "33" } })]), "")
      expect([mode("c.pem"), statSync(at("c.pem")).uid]).toEqual([0o604, 33])
      const unknown = plan([file("c.pem", "D", { owner: { user: "nobody-at-all", group: "0" } })])
      await expect(engine.deploy(unknown, "")).rejects.toThrow("user nobody-at-all does not exist on this host")
      expect(text("c.pem")).toBe("C")
    },
  )

  test.skipIf(!isRoot || setfacl === null)(
    "keeps the access list of what it replaces, and of what it brings back",
    async () => {
      const access = (name: string) => Bun.spawnSync(["getfacl", "-p", at(name)]).stdout.toString()
      for (const name of ["c.pem", "k.pem"]) {
        writeFileSync(at(name), "old", { mode: 0o640 })
        Bun.spawnSync([setfacl ?? "", "-m", "u:www-data:r", at(name)])
      }
      const files = (content: string) => [
        file("c.pem", content),
        file("k.pem", content, { isKey: true, defaultMode: 0o600 }),
      ]
      const { engine } = engineIn()
      await engine.deploy(plan(files("new")), "")
      const failing: PlanStep[] = [{ kind: "validate", run: command("false") }]
      await expect(engine.deploy(plan(files("newer"), failing), "")).rejects.toThrow("restored")
      for (const name of ["c.pem", "k.pem"]) {
        expect(text(name)).toBe("new")
        expect(access(name)).toMatch(/^user:www-data:r--$/m)
        expect(mode(name)).toBe(0o640)
      }
    },
  )

  test("replaces what a link leads to and leaves the link", async () => {
    mkdirSync(at("real"))
    writeFileSync(at("real/c.pem"), "old")
    symlinkSync(at("real/c.pem"), at("c.pem"))
    await engineIn().engine.deploy(plan([file("c.pem", "C")]), "")
    expect(readlinkSync(at("c.pem"))).toBe(at("real/c.pem"))
    expect(text("real/c.pem")).toBe("C")
    expect(readdirSync(at("real")).filter((name) => name.includes("certctl-bak"))).toHaveLength(1)
  })

  test("keeps as many backups as asked and clears away what a crash left long ago", async () => {
    const { engine } = engineIn()
    writeFileSync(at(`c.pem.certctl-tmp.${"1".repeat(19)}`), "stale")
    writeFileSync(at("c.pem.certctl-bak.mine"), "not ours")
    for (const content of ["1", "2", "3", "4", "5", "6"]) await engine.deploy(plan([file("c.pem", content)]), "")
    const backups = leftovers().filter((name) => /\d{19}$/.test(name))
    expect(backups.map(text)).toEqual(["3", "4", "5"])
    expect(existsSync(at("c.pem.certctl-bak.mine"))).toBe(true)
    await engine.deploy(plan([file("c.pem", "7")], [], { backupRetention: 0 }), "")
    expect(leftovers()).toEqual(["c.pem.certctl-bak.mine"])
  })

  test("does nothing at all when everything is there already", async () => {
    writeFileSync(at("c.pem"), "C")
    const { engine } = engineIn()
    const outcome = await engine.deploy(plan([file("c.pem", "C")], [{ kind: "reload", run: command("false") }]), "")
    expect(outcome).toEqual({ isIdempotent: true, backups: [] })
  })
})

describe("a plan is refused before anything is touched", () => {
  const refused: [what: string, files: () => PlannedFile[], words: string][] = [
    ["nothing to do", () => [], "nothing to do"],
    ["the same file twice", () => [file("a", "1"), file("a", "2")], "written twice"],
    ["the same file through a link", () => [file("a", "1"), file("link", "2")], "written twice"],
    ["a relative path", () => [{ ...file("a", "1"), path: "etc/passwd" }], "must be an absolute path"],
    ["a path that climbs", () => [{ ...file("a", "1"), path: `${folder}/x/../a` }], "without .. segments"],
    ["a path with NUL", () => [{ ...file("a", "1"), path: `${folder}/a\0b` }], "must be an absolute path"],
    ["a missing folder", () => [file("missing/a", "1")], "the folder of"],
    ["a folder in the file's place", () => [file("folder", "1")], "is not a regular file"],
    ["a link that leads nowhere", () => [file("dangling", "1")], "leads nowhere"],
    ["a link to a folder", () => [file("to-folder", "1")], "not a regular file"],
    ["a device", () => [{ ...file("a", "1"), path: "/dev/null" }], "is not a regular file"],
    ["a key for everybody", () => [file("a", "1", { isKey: true, mode: 0o644 })], "must not let everybody"],
  ]
  for (const [what, files, words] of refused) {
    test(what, async () => {
      writeFileSync(at("a"), "old")
      mkdirSync(at("folder"))
      symlinkSync(at("a"), at("link"))
      symlinkSync(at("nowhere"), at("dangling"))
      symlinkSync(at("folder"), at("to-folder"))
      await expect(engineIn().engine.deploy(plan(files()), "")).rejects.toThrow(words)
      expect(text("a")).toBe("old")
      expect(leftovers()).toEqual([])
    })
  }
})

describe("going back", () => {
  test("after a refused check: old bytes, no reload, and the program's own words", async () => {
    writeFileSync(at("c.pem"), "old")
    const steps: PlanStep[] = [
      { kind: "validate", run: command(script("check", [1]), "validate_command") },
      { kind: "reload", run: command(script("reload")) },
    ]
    const deploying = engineIn().engine.deploy(plan([file("c.pem", "new"), file("k.pem", "new")], steps), "")
    await expect(deploying).rejects.toThrow(
      /the check of the new files failed: validate_command .* code 3: check says no to run 1; the previous files were restored/,
    )
    expect(text("c.pem")).toBe("old")
    expect(existsSync(at("k.pem"))).toBe(false)
    expect(runs("reload")).toBe(0)
    expect([...leftovers(), ...journals()]).toEqual([])
  })

  test("has nothing to bring back where the check does not read the files: it comes before them", async () => {
    writeFileSync(at("c.pem"), "old")
    writeFileSync(at("seen.sh"), `cat ${at("c.pem")} >&2; exit 1`)
    const check = {
      kind: "validate",
      run: command(`sh ${at("seen.sh")}`, "validate_command"),
      isBeforeFiles: true,
    } as const
    const reload = { kind: "reload", run: command(script("reload")) } as const
    const files = [file("c.pem", "new"), file("k.pem", "new")]
    await expect(engineIn().engine.deploy(plan(files, [check, reload]), "")).rejects.toThrow(
      /^the check of the service's configuration failed: validate_command .* code 1: old; nothing was changed$/,
    )
    expect([text("c.pem"), existsSync(at("k.pem")), runs("reload")]).toEqual(["old", false, 0])
    expect([...leftovers(), ...journals()]).toEqual([])
  })

  test("after a failed reload: old bytes and a second reload", async () => {
    writeFileSync(at("c.pem"), "old")
    const steps: PlanStep[] = [{ kind: "reload", run: command(script("reload", [1])) }]
    await expect(engineIn().engine.deploy(plan([file("c.pem", "new")], steps), "")).rejects.toThrow(
      /the reload failed: .*restored; reload_command ran again/s,
    )
    expect([text("c.pem"), runs("reload")]).toEqual(["old", 2])
  })

  test("says so when the service could not be told of the old files either", async () => {
    writeFileSync(at("c.pem"), "old")
    const steps: PlanStep[] = [{ kind: "reload", run: command(script("reload", [1, 2])) }]
    await expect(engineIn().engine.deploy(plan([file("c.pem", "new")], steps), "")).rejects.toThrow(
      "the service may not have read them",
    )
    expect([text("c.pem"), runs("reload")]).toEqual(["old", 2])
  })

  test("names the backups when it fails, and tries again before the next deployment", async () => {
    writeFileSync(at("c.pem"), "old")
    const spoil: PlanStep = {
      kind: "action",
      name: "spoiling the way back",
      run: async () => {
        mkdirSync(at("hidden"))
        for (const name of leftovers()) {
          writeFileSync(at(`hidden/${name}`), text(name))
          rmSync(at(name))
        }
        throw new Error("spoilt")
      },
      undo: async () => undefined,
    }
    const { engine } = engineIn()
    await expect(engine.deploy(plan([file("c.pem", "new")], [spoil]), "")).rejects.toThrow(
      /rollback failed, somebody has to look: .*backups: .*c\.pem\.certctl-bak\.\d{19}/,
    )
    expect(journals()).toHaveLength(1)
    for (const name of readdirSync(at("hidden"))) writeFileSync(at(name), text(`hidden/${name}`))
    await engine.recover()
    expect([text("c.pem"), journals().length]).toEqual(["old", 0])
  })

  test("leaves alone what somebody else wrote meanwhile, and keeps the backup", async () => {
    writeFileSync(at("c.pem"), "old")
    const meddle: PlanStep = {
      kind: "action",
      name: "meddling",
      run: async () => {
        writeFileSync(at("c.pem"), "theirs")
        throw new Error("meddled")
      },
      undo: async () => undefined,
    }
    await expect(engineIn().engine.deploy(plan([file("c.pem", "new")], [meddle]), "")).rejects.toThrow(
      "was changed by somebody else",
    )
    expect(text("c.pem")).toBe("theirs")
    expect(leftovers().map(text)).toEqual(["old"])
  })
})

describe("the proof on the wire", () => {
  const endpoint = { host: "h", port: 443, timeoutMs: 1, attempts: 4, backoffMs: 10, maxBackoffMs: 25 }
  const serving = (fingerprints: (string | null)[]): EngineDeps["probe"] => {
    const answers = [...fingerprints]
    return async (): Promise<ProbeResult> => {
      const answer = answers.length > 1 ? answers.shift() : answers[0]
      return answer == null
        ? { address: "h:443", responseMs: 1, ok: false, error: "refused" }
        : { address: "h:443", responseMs: 1, ok: true, served: { fingerprint: answer } as never }
    }
  }

  test("waits, doubling, until the new leaf is served", async () => {
    const { engine, waits } = engineIn({ probe: serving(["old", "old", "old", "old", fingerprint]) })
    await engine.deploy(plan([file("c.pem", "new")], [{ kind: "probe", endpoint }]), fingerprint)
    expect(waits).toEqual([10, 20, 25])
  })

  test("brings the old files back when it never is", async () => {
    writeFileSync(at("c.pem"), "old")
    const { engine } = engineIn({ probe: serving(["old"]) })
    const steps: PlanStep[] = [
      { kind: "reload", run: command(script("reload")) },
      { kind: "probe", endpoint },
    ]
    await expect(engine.deploy(plan([file("c.pem", "new")], steps), fingerprint)).rejects.toThrow(
      "the proof on the wire failed: h:443 serves old instead of",
    )
    expect([text("c.pem"), runs("reload")]).toEqual(["old", 2])
  })

  test("proves nothing where nobody answered before", async () => {
    const { engine, warnings } = engineIn({ probe: serving([null]) })
    await engine.deploy(plan([file("c.pem", "new")], [{ kind: "probe", endpoint }]), fingerprint)
    expect(text("c.pem")).toBe("new")
    expect(warnings.join()).toContain("did not answer before the deployment either")
  })
})

test("two deployments of one file do not mix", async () => {
  const { engine } = engineIn()
  let inside = 0
  const step: PlanStep = {
    kind: "action",
    name: "looking",
    run: async () => {
      inside++
      await Bun.sleep(1)
      expect(inside).toBe(1)
      inside--
    },
    undo: async () => undefined,
  }
  await Promise.all(
    ["1", "2", "3", "4"].map((content) =>
      engine.deploy(plan([file("b.pem", content), file("a.pem", content)], [step]), ""),
    ),
  )
  expect(text("a.pem")).toBe(text("b.pem"))
})

test("whatever fails, everything is old or everything is new", async () => {
  const fileCase = fc.record({
    old: fc.option(fc.constantFrom("old", "same"), { nil: null }),
    isKey: fc.boolean(),
    oldMode: fc.constantFrom(0o600, 0o640, 0o644),
    isLinked: fc.boolean(),
    isTooLong: fc.integer({ min: 0, max: 9 }).map((number) => number === 9),
  })
  const stepCase = fc.constantFrom("ok", "ok", "fails", "validate", "reload")
  let round = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fileCase, { minLength: 1, maxLength: 4 }),
      fc.array(stepCase, { maxLength: 4 }),
      async (cases, kinds) => {
        const sub = `r${round++}`
        rmSync(at("journal"), { recursive: true, force: true })
        mkdirSync(at(`${sub}/real`), { recursive: true })
        // A name with no room for the suffix of a temporary file: writing fails in the middle.
        const names = cases.map((entry, index) => `${sub}/f${index}${entry.isTooLong ? "x".repeat(240) : ""}`)
        for (const [index, { old, oldMode, isLinked }] of cases.entries()) {
          const name = names[index] ?? ""
          if (old === null) continue
          const real = isLinked ? name.replace("/", "/real/") : name
          writeFileSync(at(real), old === "same" ? `new ${index}` : `old ${index}`, { mode: oldMode })
          chmodSync(at(real), oldMode)
          if (isLinked) symlinkSync(at(real), at(name))
        }
        const look = () => names.map((name) => (existsSync(at(name)) ? [text(name), mode(name)] : null))
        const before = look()
        const undone: number[] = []
        const steps = kinds.map((kind, index): PlanStep => {
          if (kind === "validate") return { kind, run: command("true") }
          if (kind === "reload") return { kind, run: command("true") }
          return {
            kind: "action",
            name: `action ${index}`,
            run: async () => {
              if (kind === "fails") throw new Error("as planned")
            },
            undo: async () => void undone.push(index),
          }
        })
        const files = cases.map(({ isKey }, index) =>
          file(names[index] ?? "", `new ${index}`, { isKey, defaultMode: isKey ? 0o600 : 0o644 }),
        )
        const { engine } = engineIn()
        const isThere = before.every((entry, index) => entry?.[0] === `new ${index}`)
        const outcome = await engine
          .deploy(plan(files, steps, { backupRetention: 0 }), "")
          .catch((error: Error) => error)

        const mustFail = !isThere && (kinds.includes("fails") || cases.some(({ isTooLong }) => isTooLong))
        expect(outcome instanceof Error).toBe(mustFail)
        if (outcome instanceof Error) expect(look()).toEqual(before)
        else expect(look().map((entry) => entry?.[0])).toEqual(cases.map((_, index) => `new ${index}`))
        if (kinds.includes("fails") && !isThere && !cases.some(({ isTooLong }) => isTooLong)) {
          const failing = kinds.indexOf("fails")
          const actions = kinds.flatMap((kind, index) =>
            index <= failing && ["ok", "fails"].includes(kind) ? [index] : [],
          )
          expect(undone).toEqual(actions.reverse())
        }
        const rest = [...readdirSync(at(sub)), ...readdirSync(at(`${sub}/real`))].filter((name) =>
          name.includes(".certctl-"),
        )
        expect(rest).toEqual([])
        expect(journals()).toEqual([])
      },
    ),
    { numRuns: 150 },
  )
})

describe("kill -9", () => {
  const names = Array.from({ length: 30 }, (_, index) => `f${String(index).padStart(2, "0")}`)
  const contents = () => new Set(names.map(text))

  /** Deploys "A" and "B" in turn over thirty files for ever. */
  const endless = () => `
    import { deployEngine } from ${JSON.stringify(join(import.meta.dir, "engine.ts"))}
    import { commandRunner } from ${JSON.stringify(join(import.meta.dir, "../../src/connectors/command.ts"))}
    const engine = deployEngine({ journalFolder: ${JSON.stringify(at("journal"))}, clock: { now: () => new Date() }, backupRetention: 1,
      run: commandRunner({ allowedPrograms: [] }), probe: async () => ({ ok: false }), wait: async () => {}, warn: () => {} })
    await engine.recover()
    console.log("ready")
    for (let i = 0; ; i++) {
      const bytes = Buffer.from(i % 2 ? "A" : "B")
      const files = ${JSON.stringify(names)}.map((name) => ({ path: ${JSON.stringify(`${folder}/`)} + name, bytes, isKey: false, defaultMode: 0o644 }))
      await engine.deploy({ address: "x", deploymentId: "x", files, steps: [], backupRetention: 1 }, "")
    }`

  test("at any instant leaves what the next start makes whole", async () => {
    for (const name of names) writeFileSync(at(name), "A")
    let torn = 0
    for (let round = 0; round < 60 && torn < 5; round++) {
      const child = Bun.spawn([process.execPath, "-e", endless()], { stdout: "pipe", stderr: "inherit" })
      await child.stdout.getReader().read()
      if (round % 3 === 0) await Bun.sleep(Math.random() * 20)
      else {
        // Busy on purpose: the instant between the first rename and the last is what is looked for.
        const first = text("f00")
        const end = performance.now() + 2000
        while (text("f00") === first && performance.now() < end);
      }
      child.kill(9)
      await child.exited
      if (contents().size > 1) torn++
      await engineIn().engine.recover()
      expect(contents().size).toBe(1)
      expect(journals()).toEqual([])
      expect(leftovers().filter((name) => name.includes("certctl-tmp"))).toEqual([])
    }
    expect(torn).toBeGreaterThan(0)
  })

  test("between reload and commit brings the old files back and reloads them", async () => {
    writeFileSync(at("c.pem"), "old")
    writeFileSync(
      at("stuck.sh"),
      `cat ${at("c.pem")} >> ${at("seen")}; [ "$(cat ${at("c.pem")})" = old ] || while [ -e ${folder} ]; do sleep 0.05; done`,
    )
    const source = `
      import { deployEngine } from ${JSON.stringify(join(import.meta.dir, "engine.ts"))}
      import { commandRunner } from ${JSON.stringify(join(import.meta.dir, "../../src/connectors/command.ts"))}
      const engine = deployEngine({ journalFolder: ${JSON.stringify(at("journal"))}, clock: { now: () => new Date() }, backupRetention: 1,
        run: commandRunner({ allowedPrograms: [] }), probe: async () => ({ ok: false }), wait: async () => {}, warn: () => {} })
      await engine.deploy({ address: "x", deploymentId: "x", backupRetention: 1,
        files: [{ path: ${JSON.stringify(at("c.pem"))}, bytes: Buffer.from("new"), isKey: false, defaultMode: 0o644 }],
        steps: [{ kind: "reload", run: { key: "reload_command", command: ${JSON.stringify(`sh ${at("stuck.sh")}`)} } }] }, "")`
    const child = Bun.spawn([process.execPath, "-e", source], { stdout: "inherit", stderr: "inherit" })
    await until("the service reads the new file", () => existsSync(at("seen")) && text("seen") === "new")
    child.kill(9)
    await child.exited
    expect(text("c.pem")).toBe("new")
    const repaired = await engineIn().engine.recover()
    expect(repaired).toEqual([`${at("c.pem")} restored`, "reload_command ran again"])
    expect([text("c.pem"), text("seen")]).toEqual(["old", "newold"])
    expect(await engineIn().engine.recover()).toEqual([])
  })
})
