/**
 * What every target that writes PEM files must do with the product itself: a private instance in a folder of its own, never
 * the machine's service. A product's test says how it is started, broken and asked, and adds what only that product can do.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { probe } from "../connectors/probe"
import { type Deployable, deploying, testTargetDeps } from "./deploying"
import { runOnce } from "./dying"
import { fill, openRun, type ScenarioRun, smallDisk } from "./file-target-run"
import { type FileProduct, nameOf, serverName, type Words } from "./products/product"
import { isExcused } from "./products/running-peer"
import { until } from "./until"

const engineWords: Words = {
  wentBack: "the previous files were restored",
  reloadFailed: "the reload failed: reload_command \\(false\\) ended with code 1; the previous files were restored",
  noRoom: "writing the files failed: .*(ENOSPC|no space left).*; nothing was changed",
  noRight: "writing the files failed: .*(EROFS|read-only).*; nothing was changed",
  noFolder: "the folder of .*missing.* cannot be used",
  fileForFolder: "ENOTDIR",
}

/** Describes the common tests and, in the same instance of the product, those that `more` adds. */
export const fileTargetScenarios = (product: FileProduct, more: (run: () => ScenarioRun) => void = () => undefined) => {
  const {
    connector,
    program,
    startTls,
    refusals = [],
    isReloaded = true,
    isRemote = false,
    readsAlways = false,
  } = product
  // Every step has its turn in a test of its own (kill-steps), with one product; here some of them, with each.
  const { renewals = 3, stepsApart = 2 } = product
  const words = { ...engineWords, ...product.words }

  describe.skipIf(program === null)(nameOf(product), () => {
    let run: ScenarioRun
    const isThere = async ({ certPem, keyPem, fingerprint }: Deployable): Promise<boolean> => {
      if (readsAlways) return (await run.served()) === fingerprint
      const text = run.onDisk().join("")
      return text.includes(certPem) && text.includes(keyPem)
    }

    beforeAll(async () => {
      run = await openRun(product)
    })
    afterAll(() => run?.stage.end())

    test("serves what was deployed, whole chain included; the key stays private; the same again does nothing", async () => {
      const { stage, peer, deploy } = run
      const leaf = await run.leaf()
      const { isIdempotent, backups } = await deploy(leaf)
      expect([isIdempotent, backups.length]).toEqual([false, isRemote ? 0 : peer.files.length])
      await run.serves(leaf.fingerprint)
      const result = await probe({
        host: "127.0.0.1",
        port: stage.port,
        serverName,
        ...(startTls === undefined ? {} : { startTls }),
        timeoutMs: 5000,
      })
      expect(result.ok && result.served.chainDer.length).toBe(2)
      for (const path of peer.files) {
        const holdsKey = peer.stores?.includes(path) || readFileSync(path, "utf8").includes("PRIVATE KEY")
        expect([path, statSync(path).mode & 0o777]).toEqual([path, holdsKey ? 0o600 : 0o644])
      }
      const before = peer.files.map((path) => statSync(path).ino)
      expect((await deploy(leaf, isReloaded ? { reload_command: "false" } : {})).isIdempotent).toBe(true)
      expect(peer.files.map((path) => statSync(path).ino)).toEqual(before)
    })

    test("loses no connection while certificates are renewed, and shows none but them", async () => {
      const deployed = [await run.current(), await run.served()]
      const load = run.hammer()
      for (let round = 0; round < renewals; round++) {
        const leaf = await run.leaf()
        deployed.push(leaf.fingerprint)
        await run.deploy(leaf)
        await run.serves(leaf.fingerprint)
      }
      // A quick deployment is over before a slow product has taken so many.
      await until("clients have got through", () => load.succeeded() > 5)
      const { connections, failures, seen } = await load.stop()
      expect(connections).toBeGreaterThan(failures.length + 5)
      // Not even for a moment what nobody deployed, such as a product's own certificate for want of a matching pair.
      expect([...seen].filter((fingerprint) => !deployed.includes(fingerprint))).toEqual([])
      expect(failures.filter((failure) => !isExcused(product, failure))).toEqual([])
    })

    for (const { extraLine, isBeforeFiles = false, words: ownWords } of refusals) {
      const cause = extraLine === undefined ? "a foreign key" : "a line of its configuration"
      test(`that refuses because of ${cause} keeps what it had, and its own words are in the error`, async () => {
        const [before, old] = [await run.current(), run.onDisk()]
        const [leaf, other] = [await run.leaf(), await run.leaf()]
        if (extraLine !== undefined) run.include(extraLine)
        const material = extraLine === undefined ? { keyPem: other.keyPem } : {}
        const failure = await run.deploy(leaf, {}, material).then(() => "nothing", String)
        run.include("")
        expect(failure).toMatch(ownWords)
        expect(failure).toMatch(isBeforeFiles ? /nothing was changed$/ : new RegExp(words.wentBack, "s"))
        expect(failure).not.toContain("PRIVATE KEY")
        expect(run.onDisk()).toEqual(old)
        await run.serves(before)
      })
    }

    const testReload = isReloaded ? test : () => undefined
    testReload("whose reload fails has its old files back", async () => {
      const [before, old] = [await run.current(), run.onDisk()]
      await expect(run.deploy(await run.leaf(), { reload_command: "false" })).rejects.toThrow(
        new RegExp(words.reloadFailed),
      )
      expect(run.onDisk()).toEqual(old)
      await run.serves(before)
      expect(run.journals()).toEqual([])
    })

    testReload(
      `whose agent is killed before the reload ${isRemote ? "" : "has its old files back, then "}takes the certificate`,
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
        if (!isRemote) {
          expect(repaired).toEqual([...peer.files.map((path) => `${path} restored`), "reload_command ran again"])
          expect(run.onDisk()).toEqual(old)
        }
        await run.deploy(leaf)
        await run.serves(leaf.fingerprint)
      },
    )

    test("that goes on serving the old certificate has its old files back", async () => {
      const old = run.onDisk()
      const before = await run.current()
      // The product never sees this folder.
      const folder = run.stage.at("unseen")
      mkdirSync(folder)
      const config = { ...run.peer.elsewhere(folder), post_deploy_verify_attempts: 1 }
      await expect(run.deploy(await run.leaf(), config)).rejects.toThrow(
        new RegExp(`the proof on the wire failed: .* instead of .*; ${words.wentBack}`),
      )
      expect(readdirSync(folder)).toEqual([])
      expect(run.onDisk()).toEqual(old)
      await run.serves(before)
    })

    /** The files on a small disk that the product never sees, and what is in its folder. */
    const onSmallDisk = (diskName: string) => {
      const folder = smallDisk(run.stage, diskName)
      if (folder === null) return null
      for (const path of run.peer.files) copyFileSync(path, join(folder, basename(path)))
      const contents = () =>
        readdirSync(folder)
          .filter((file) => file !== "ballast")
          .map((file) => [file, readFileSync(join(folder, file), "latin1")])
      return { folder, contents }
    }

    test("has its old files intact when the disk is full, whatever is the last that fits", async () => {
      const disk = onSmallDisk("small")
      if (disk === null) return
      const { folder, contents } = disk
      const old = contents()
      const before = await run.current()
      // Where all of it fits, the proof fails: the product does not see this disk.
      const config = { ...run.peer.elsewhere(folder), post_deploy_verify_attempts: 1 }
      const failures: string[] = []
      for (let room = 0; failures.at(-1)?.includes("proof on the wire") !== true; room++) {
        if (room > 16) throw new Error(`the disk is too small for a deployment: ${failures.at(-1)}`)
        fill(join(folder, "ballast"), room)
        failures.push(
          await run.deploy(await run.leaf(), config).then(
            () => "nothing",
            (error) => String(error),
          ),
        )
        expect([room, failures.at(-1), contents()]).toEqual([room, failures.at(-1), old])
      }
      const noRoom = new RegExp(words.noRoom, "is")
      expect(failures.slice(0, -1).filter((failure) => !noRoom.test(failure))).toEqual([])
      expect(failures.length).toBeGreaterThan(1)
      await run.serves(before)
    })

    test("has its old files where the agent may not write", async () => {
      const disk = onSmallDisk("locked")
      if (disk === null) return
      // Root may write everywhere but here.
      Bun.spawnSync(["mount", "-o", "remount,ro", disk.folder])
      const old = disk.contents()
      await expect(run.deploy(await run.leaf(), run.peer.elsewhere(disk.folder))).rejects.toThrow(
        new RegExp(words.noRight, "is"),
      )
      expect(disk.contents()).toEqual(old)
      expect(run.journals()).toEqual([])
    })

    // Of what happens on another host no step is to be seen here.
    test.skipIf(isRemote)("is whole after kill -9 at one step of a deployment after another", async () => {
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
        const isOld = run.onDisk().join("") === old.join("")
        expect([step, isOld || (await isThere(leaf))]).toEqual([step, true])
        expect(run.journals()).toEqual([])
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
      const there: Deployable[] = []
      for (const leaf of leaves) if (await isThere(leaf)) there.push(leaf)
      expect(there).toHaveLength(1)
      await run.serves(there[0]?.fingerprint ?? "")
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
        new RegExp(`^(cert|pem|keystore)_\\w+: ${words.noFolder}`),
      )
      await expect(open(peer.elsewhere(peer.files[0] ?? "")).check?.()).rejects.toThrow(
        new RegExp(`^(cert|pem|keystore)_\\w+: .*${words.fileForFolder}`),
      )
      if (!isReloaded || isRemote) return
      await expect(open({ reload_command: "no-such-program now" }).check?.()).rejects.toThrow(
        "reload_command: program no-such-program was not found",
      )
    })

    test("cannot be deployed to where there is no folder, and nothing is left of the attempt", async () => {
      const old = run.onDisk()
      await expect(run.deploy(await run.leaf(), run.peer.elsewhere(run.peer.files[0] ?? ""))).rejects.toThrow(
        new RegExp(words.fileForFolder),
      )
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
