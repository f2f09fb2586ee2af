/**
 * What every target that writes PEM files must do with the product itself: a private instance in a folder of its own, never
 * the machine's service. A product's test says how it is started, broken and asked, and adds what only that product can do.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import { probe, type StartTls } from "../connectors/probe"
import type { Material, TargetDefinition } from "../connectors/targets/contract"
import type { Authority } from "../pki/authority"
import { type Deployable, deploying, testTargetDeps } from "./deploying"
import { runOnce } from "./dying"
import { freePort } from "./free-port"
import { openStage, type Stage } from "./stage"
import { until } from "./until"

export const serverName = "site.example"

export interface FilePeer {
  /** What the target's configuration needs to deploy to it. */
  readonly config: Record<string, unknown>
  /** The files of a deployment: the certificate's first. */
  readonly files: readonly string[]
  /** The keys of the configuration that name those files or their folder, for another folder. */
  elsewhere(folder: string): Record<string, unknown>
}

/** Where a product is started and what with. */
export interface PeerStage extends Stage {
  readonly port: number
  /** The pair it serves at first, in `tls/`, as two files and as one. */
  readonly first: { readonly cert: string; readonly key: string; readonly combined: string }
  /** A file that its configuration includes, empty at first. */
  readonly extra: string
  /** A script, for what the rules of operators' commands do not let through. */
  script(name: string, text: string): string
}

export interface Scenarios {
  readonly connector: TargetDefinition
  /** null: it is not installed, and the tests are skipped. */
  readonly program: string | null
  readonly startTls?: StartTls
  start(stage: PeerStage, program: string): FilePeer | Promise<FilePeer>
  /** How it comes to refuse a deployment, and what it says then. Left out: it reads files without a word. */
  readonly refusal?: {
    /** A line for the included file. */
    readonly extraLine?: string
    /** The key of another certificate. */
    readonly hasForeignKey?: boolean
    readonly words: RegExp
  }
  /** Whether there is a command to take up the files. */
  readonly isReloaded?: boolean
  /** Its change of configuration resets connections that wait to be accepted at that moment. */
  readonly mayReset?: boolean
  /** How many under load; three unless the product is slow. */
  readonly renewals?: number
}

export interface ScenarioRun {
  readonly stage: PeerStage
  readonly peer: FilePeer
  readonly authority: Authority
  leaf(): Promise<Deployable>
  deploy(
    leaf: Deployable,
    extra?: Record<string, unknown>,
    material?: Partial<Material>,
  ): ReturnType<ReturnType<typeof deploying>["deploy"]>
  served(): Promise<string>
  serves(fingerprint: string): Promise<void>
  onDisk(): string[]
}

/** Every step has its turn in a test of its own (kill-steps), with one product; here some of them, with each. */
const stepsApart = 2

const isFingerprint = (text: string) => /^[0-9a-f]{64}$/.test(text)

/** Describes the common tests and, in the same instance of the product, those that `more` adds. */
export const fileTargetScenarios = (scenarios: Scenarios, more: (run: () => ScenarioRun) => void = () => undefined) => {
  const { connector, program, startTls, refusal, isReloaded = true, mayReset = false, renewals = 3 } = scenarios

  describe.skipIf(program === null)(connector.type, () => {
    let run: ScenarioRun

    beforeAll(async () => {
      run = await openRun(scenarios)
      await until(`${connector.type} serves`, async () => isFingerprint(await run.served()))
    })
    afterAll(() => run?.stage.end())

    test("serves what was deployed, whole chain included; the key stays private; the same again does nothing", async () => {
      const { stage, peer, deploy } = run
      const leaf = await run.leaf()
      const { isIdempotent, backups } = await deploy(leaf)
      expect([isIdempotent, backups.length]).toEqual([false, peer.files.length])
      await run.serves(leaf.fingerprint)
      const result = await probe({ ...asked(stage.port, startTls), timeoutMs: 5000 })
      expect(result.ok && result.served.chainDer.length).toBe(2)
      for (const path of peer.files) {
        const holdsKey = readFileSync(path, "utf8").includes("PRIVATE KEY")
        expect([path, statSync(path).mode & 0o777]).toEqual([path, holdsKey ? 0o600 : 0o644])
      }
      const before = peer.files.map((path) => statSync(path).ino)
      expect((await deploy(leaf, isReloaded ? { reload_command: "false" } : {})).isIdempotent).toBe(true)
      expect(peer.files.map((path) => statSync(path).ino)).toEqual(before)
    })

    test("loses no connection while certificates are renewed", async () => {
      const { stage, deploy } = run
      let isOver = false
      let connections = 0
      const failures: string[] = []
      const load = (async () => {
        while (!isOver) {
          const result = await probe({ ...asked(stage.port, startTls), timeoutMs: 20_000 })
          connections++
          if (!result.ok) failures.push(result.error)
        }
      })()
      for (let round = 0; round < renewals; round++) {
        const leaf = await run.leaf()
        await deploy(leaf)
        await run.serves(leaf.fingerprint)
      }
      isOver = true
      await load
      expect(connections).toBeGreaterThan(failures.length + 5)
      expect(failures.filter((words) => !(mayReset && /ECONNRESET|closed/.test(words)))).toEqual([])
    })

    const testRefusal = refusal === undefined ? () => undefined : test
    testRefusal("that refuses keeps what it had, and its own words are in the error", async () => {
      const { stage, deploy } = run
      const [before, old] = [await run.served(), run.onDisk()]
      const [leaf, other] = [await run.leaf(), await run.leaf()]
      if (refusal?.extraLine !== undefined) writeFileSync(stage.extra, `${refusal.extraLine}\n`)
      const failure = await deploy(leaf, {}, refusal?.hasForeignKey ? { keyPem: other.keyPem } : {}).then(
        () => "nothing",
        String,
      )
      writeFileSync(stage.extra, "")
      expect(failure).toMatch(refusal?.words ?? /^$/)
      expect(failure).toContain("the previous files were restored")
      expect(failure).not.toContain("PRIVATE KEY")
      expect(run.onDisk()).toEqual(old)
      await run.serves(before)
    })

    const testReload = isReloaded ? test : () => undefined
    testReload("whose reload fails has its old files back", async () => {
      const [before, old] = [await run.served(), run.onDisk()]
      await expect(run.deploy(await run.leaf(), { reload_command: "false" })).rejects.toThrow(
        /the reload failed: reload_command \(false\) ended with code 1; the previous files were restored/,
      )
      expect(run.onDisk()).toEqual(old)
      await run.serves(before)
      expect(readdirSync(run.stage.at("agent/journal"))).toEqual([])
    })

    testReload(
      "whose agent is killed before the reload has its old files back, then takes the certificate",
      async () => {
        const { stage, peer, authority } = run
        const old = run.onDisk()
        const leaf = await run.leaf()
        const hasBegun = stage.at("reload-has-begun")
        // The first one never ends, the one of the repair does.
        const reload_command = stage.script("hang", `[ -e ${hasBegun} ] && exit 0\ntouch ${hasBegun}\nexec sleep 30`)
        const input = {
          folder: stage.at("agent"),
          type: connector.type,
          config: { ...peer.config, reload_command },
          leaf,
          chainPem: authority.certPem,
        }
        const child = Bun.spawn([process.execPath, "-e", deployOnce], {
          cwd: import.meta.dir,
          stdio: [Buffer.from(JSON.stringify(input)), "ignore", "inherit"],
        })
        await until("the reload has begun", () => existsSync(hasBegun))
        child.kill("SIGKILL")
        await child.exited
        expect(run.onDisk()).not.toEqual(old)
        const repaired = await deploying(stage.at("agent")).engine.recover()
        expect(repaired).toEqual([...peer.files.map((path) => `${path} restored`), "reload_command ran again"])
        expect(run.onDisk()).toEqual(old)
        await run.deploy(leaf)
        await run.serves(leaf.fingerprint)
      },
    )

    test("that goes on serving the old certificate has its old files back", async () => {
      const old = run.onDisk()
      const before = await run.served()
      // The product never sees this folder.
      const folder = run.stage.at("unseen")
      mkdirSync(folder)
      const config = { ...run.peer.elsewhere(folder), post_deploy_verify_attempts: 1 }
      await expect(run.deploy(await run.leaf(), config)).rejects.toThrow(
        /the proof on the wire failed: .* instead of .*; the previous files were restored/,
      )
      expect(readdirSync(folder)).toEqual([])
      expect(run.onDisk()).toEqual(old)
      await run.serves(before)
    })

    test("has its old files intact when the disk is full", async () => {
      const folder = run.stage.at("small")
      mkdirSync(folder)
      if (!mountSmall(folder)) return console.warn("skipped: mounting a small file system is not permitted here")
      run.stage.onEnd(() => Bun.spawnSync(["umount", folder]))
      for (const path of run.peer.files) copyFileSync(path, join(folder, basename(path)))
      const contents = () => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")])
      const old = contents()
      fill(join(folder, "ballast"))
      const before = await run.served()
      await expect(run.deploy(await run.leaf(), run.peer.elsewhere(folder))).rejects.toThrow(
        /writing the files failed: .*(ENOSPC|no space left).*; nothing was changed/i,
      )
      expect(contents().filter(([name]) => name !== "ballast")).toEqual(old)
      expect(await run.served()).toBe(before)
    })

    test("has its old files where the agent may not write", async () => {
      const folder = run.stage.at("locked")
      mkdirSync(folder)
      if (!mountSmall(folder)) return console.warn("skipped: mounting a file system is not permitted here")
      run.stage.onEnd(() => Bun.spawnSync(["umount", folder]))
      for (const path of run.peer.files) copyFileSync(path, join(folder, basename(path)))
      // Root may write everywhere but here.
      Bun.spawnSync(["mount", "-o", "remount,ro", folder])
      const contents = () => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")])
      const old = contents()
      await expect(run.deploy(await run.leaf(), run.peer.elsewhere(folder))).rejects.toThrow(
        /writing the files failed: .*(EROFS|read-only).*; nothing was changed/i,
      )
      expect(contents()).toEqual(old)
      expect(readdirSync(run.stage.at("agent/journal"))).toEqual([])
    })

    test("is whole after kill -9 at one step of a deployment after another", async () => {
      const { stage, peer, authority } = run
      const base = { folder: stage.at("agent"), diesAfter: false }
      for (let step = 1; ; step += stepsApart) {
        const old = run.onDisk()
        const leaf = await run.leaf()
        const does = {
          ...({ kind: "connector", type: connector.type, config: peer.config } as const),
          ...{ leaf, chainPem: authority.certPem },
        }
        const { ending, output } = await runOnce(stage.at("one.json"), { ...base, does, diesAt: step })
        if (ending === "failed") throw new Error(output)
        const repair = { ...base, does: { kind: "repair" }, diesAt: Number.MAX_SAFE_INTEGER } as const
        if (ending === "died") {
          expect(await runOnce(stage.at("repair.json"), repair)).toMatchObject({ ending: "done" })
        }
        const text = run.onDisk().join("")
        const isNew = text.includes(leaf.certPem) && text.includes(leaf.keyPem)
        expect([step, isNew || text === old.join("")]).toEqual([step, true])
        expect(readdirSync(stage.at("agent/journal"))).toEqual([])
        if (ending === "done") return run.serves(leaf.fingerprint)
      }
    })

    test("ends with one pair when two are deployed at once", async () => {
      const leaves = [await run.leaf(), await run.leaf()]
      const both = deploying(run.stage.at("agent"))
      // Both may succeed, one after the other.
      await Promise.allSettled(
        leaves.map((leaf) => both.deploy(connector, run.peer.config, leaf, run.authority.certPem)),
      )
      const text = run.onDisk().join("")
      const winner = leaves.find(({ certPem }) => text.includes(certPem))
      expect(winner !== undefined && text.includes(winner.keyPem)).toBe(true)
      await run.serves(winner?.fingerprint ?? "")
    })

    test("is checked without a change", async () => {
      const { stage, peer } = run
      const open = (extra: Record<string, unknown>) =>
        connector.open({ ...peer.config, ...extra }, testTargetDeps(stage.at("agent")))
      const listing = () => readdirSync(dirname(peer.files[0] ?? "")).sort()
      const [before, old] = [listing(), run.onDisk()]
      await open({}).check?.()
      expect([listing(), run.onDisk()]).toEqual([before, old])
      await expect(open(peer.elsewhere(stage.at("missing"))).check?.()).rejects.toThrow(
        /^(cert|pem)_\w+: the folder of .*missing.* cannot be used/,
      )
      await expect(open(peer.elsewhere(peer.files[0] ?? "")).check?.()).rejects.toThrow(/^(cert|pem)_\w+: .*ENOTDIR/)
      if (!isReloaded) return
      await expect(open({ reload_command: "no-such-program now" }).check?.()).rejects.toThrow(
        "reload_command: program no-such-program was not found",
      )
    })

    test("cannot be deployed to where there is no folder, and nothing is left of the attempt", async () => {
      const old = run.onDisk()
      await expect(run.deploy(await run.leaf(), run.peer.elsewhere(run.peer.files[0] ?? ""))).rejects.toThrow("ENOTDIR")
      expect(run.onDisk()).toEqual(old)
    })

    more(() => run)
  })
}

/** An agent's deployment in a process of its own, which can be killed. */
const deployOnce = `
  import { deploying } from "./deploying"
  import { targetConnector } from "../connectors/targets/catalog"
  const { folder, type, config, leaf, chainPem } = JSON.parse(await Bun.stdin.text())
  await deploying(folder).deploy(targetConnector(type), config, leaf, chainPem)`

const asked = (port: number, startTls: StartTls | undefined) => ({
  host: "127.0.0.1",
  port,
  serverName,
  ...(startTls === undefined ? {} : { startTls }),
})

const openRun = async ({ connector, program, startTls, start }: Scenarios): Promise<ScenarioRun> => {
  const stage = openStage()
  // Products drop their rights and still read their own files.
  chmodSync(stage.folder, 0o755)
  const authority = await testAuthority()
  const leaf = () => testLeaf(authority, [serverName])
  const initial = await leaf()
  const tls = stage.at("tls")
  mkdirSync(tls)
  const first = { cert: join(tls, "cert.pem"), key: join(tls, "key.pem"), combined: join(tls, "site.pem") }
  const peerStage: PeerStage = {
    ...stage,
    port: await freePort(),
    first,
    extra: stage.at("extra.conf"),
    script(name, text) {
      const path = stage.at(name)
      writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
      return path
    },
  }
  writeFileSync(first.cert, initial.certPem + authority.certPem)
  writeFileSync(first.key, initial.keyPem, { mode: 0o600 })
  writeFileSync(first.combined, initial.certPem + authority.certPem + initial.keyPem, { mode: 0o600 })
  writeFileSync(peerStage.extra, "")
  const peer = await start(peerStage, program ?? "")
  const config = {
    verify_host: "127.0.0.1",
    verify_port: peerStage.port,
    verify_server_name: serverName,
    ...(startTls === undefined ? {} : { verify_starttls: startTls }),
    // Workers of before a reload may take a last connection.
    post_deploy_verify_backoff: "50ms",
    post_deploy_verify_max_backoff: "500ms",
    post_deploy_verify_attempts: 15,
    ...peer.config,
  }
  const served = async () => {
    const result = await probe({ ...asked(peerStage.port, startTls), timeoutMs: 5000 })
    return result.ok ? result.served.fingerprint : result.error
  }
  return {
    stage: peerStage,
    peer: { ...peer, config },
    authority,
    leaf,
    deploy: (deployed, extra = {}, material = {}) =>
      deploying(stage.at("agent")).deploy(connector, { ...config, ...extra }, deployed, authority.certPem, material),
    served,
    serves: (fingerprint) => until(`it serves ${fingerprint}`, async () => (await served()) === fingerprint),
    onDisk: () => peer.files.map((path) => (existsSync(path) ? readFileSync(path, "utf8") : "")),
  }
}

const mountSmall = (folder: string): boolean =>
  process.getuid?.() === 0 && Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=32k", "none", folder]).exitCode === 0

/** Leaves room for less than a page. */
const fill = (path: string): void => {
  const page = Buffer.alloc(4096)
  try {
    for (;;) writeFileSync(path, page, { flag: "a" })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error
  }
}
