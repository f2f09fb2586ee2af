/** The Java keystore target against keytool. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
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
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import type { Authority } from "../../pki/authority"
import { pkcs12KeyStore } from "../../pki/pkcs12-key-store"
import { deploying, testTargetDeps } from "../../testing/deploying"
import { freePort } from "../../testing/free-port"
import { peer } from "../../testing/peers"
import { commandChecker } from "../command"
import { secretKeysOf } from "../config"
import { programStarter } from "../program"
import { javaKeystore } from "./java-keystore"

// Every look into a store is a Java virtual machine of its own.
setDefaultTimeout(60_000)

const keytool = peer("keytool", "default-jre-headless")
const password = 'ch4ngeit "quoted"'

describe.skipIf(keytool === null)("JavaKeystore", () => {
  let folder: string
  let authority: Authority
  const at = (...names: string[]) => join(folder, ...names)

  const leafFor = (name: string) => testLeaf(authority, [name])

  /** A place of its own for every test. */
  const place = (name: string, extra: Record<string, unknown> = {}) => {
    mkdirSync(at(name))
    const path = at(name, "server.ks")
    const config = { keystore_path: path, keystore_password: password, ...extra }
    const world = deploying(at(name, "agent"))
    const deploy = (leaf: Awaited<ReturnType<typeof leafFor>>, changes: Record<string, unknown> = {}) =>
      world.deploy(javaKeystore, { ...config, ...changes }, leaf, authority.certPem)
    /** A store with one entry called 1, without a virtual machine's start. */
    const seed = async () => {
      const store = pkcs12KeyStore({ ...(await leafFor("seed")), chainPem: "", password })
      writeFileSync(path, store, { mode: 0o600 })
      return store
    }
    return { path, config, world, deploy, seed }
  }

  const keytoolOn = async (path: string, ...args: string[]) => {
    const env = { PATH: process.env.PATH ?? "", STORE_PASSWORD: password }
    const child = Bun.spawn([keytool ?? "", ...args, "-keystore", path, "-storepass:env", "STORE_PASSWORD"], {
      stdout: "pipe",
      stderr: "pipe",
      env,
    })
    const text = await new Response(child.stdout).text()
    if ((await child.exited) !== 0) throw new Error(`keytool: ${text}${await new Response(child.stderr).text()}`)
    return text
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "certctl-java-keystore-"))
    authority = await testAuthority()
  })

  afterAll(async () => {
    rmSync(folder, { recursive: true })
  })

  test("other entries survive, and the entry gets the alias, the whole chain and the file's mode", async () => {
    const { path, deploy, seed } = place("others", { alias: "Tomcat" })
    await seed()
    chmodSync(path, 0o640)
    await deploy(await leafFor("site.example"))
    await deploy(await leafFor("site.example"))
    const listed = await keytoolOn(path, "-list", "-v")
    expect(listed.match(/Alias name: .*/g)?.sort()).toEqual(["Alias name: 1", "Alias name: tomcat"])
    expect(listed).toContain("Certificate chain length: 2")
    expect(statSync(path).mode & 0o777).toBe(0o640)
  })

  test("a wrong password is said in keytool's words, the store stays, and no password is in the error", async () => {
    const { path, deploy, seed } = place("wrong-password")
    const before = await seed()
    const failure = deploy(await leafFor("site.example"), { keystore_password: "not-the-one" })
    await expect(failure).rejects.toThrow(/keytool -list ended with code 1: .*password was incorrect/s)
    await failure.catch((error) => expect(String(error)).not.toContain("not-the-one"))
    expect(readFileSync(path).equals(before)).toBe(true)
  })

  test("a store of the other type, no store at all and a missing file that must exist are refused untouched", async () => {
    const { path, deploy, config, world, seed } = place("types")
    const leaf = await leafFor("site.example")
    const check = (changes: Record<string, unknown>) =>
      javaKeystore.open({ ...config, ...changes }, world.deps).check?.() ?? Promise.resolve()
    await expect(deploy(leaf, { create_keystore: false })).rejects.toThrow(/keystore_path: .* does not exist/)
    await expect(check({ create_keystore: false })).rejects.toThrow(/keystore_path: .* does not exist/)
    expect(existsSync(path)).toBe(false)
    await check({})
    const before = await seed()
    await check({})
    await expect(deploy(await leafFor("b"), { keystore_type: "JKS" })).rejects.toThrow(
      "keystore_type is JKS, but the file",
    )
    await expect(check({ keystore_type: "JKS" })).rejects.toThrow("keystore_type is JKS, but the file")
    await expect(check({ keystore_password: "not-the-one" })).rejects.toThrow("password was incorrect")
    expect(readFileSync(path).equals(before)).toBe(true)
    writeFileSync(path, "not a store")
    await expect(check({})).rejects.toThrow("names a file that is no keystore")
  })

  test("a failing reload is a warning, a failing proof brings the old store back", async () => {
    const { path, deploy, world } = place("reload")
    const first = await leafFor("site.example")
    await deploy(first, { reload_command: "false now" })
    expect(world.warnings.join()).toMatch(/the new files are in place.*reload_command \(false now\) ended with code 1/)
    const before = readFileSync(path)
    const port = await freePort()
    const other = await leafFor("other.example")
    const server = Bun.serve({
      port,
      hostname: "127.0.0.1",
      tls: { cert: other.certPem, key: other.keyPem },
      fetch: () => new Response(),
    })
    try {
      const proof = { verify_host: "127.0.0.1", verify_port: port, post_deploy_verify_backoff: "10ms" }
      await expect(deploy(await leafFor("site.example"), proof)).rejects.toThrow(/proof on the wire failed.*restored/s)
      expect(readFileSync(path).equals(before)).toBe(true)
    } finally {
      await server.stop(true)
    }
  })

  test("two deployments of different aliases at once both arrive", async () => {
    const { path, deploy } = place("at-once")
    const [one, two] = [await leafFor("one.example"), await leafFor("two.example")]
    await Promise.all([deploy(one, { alias: "one" }), deploy(two, { alias: "two" })])
    const listed = await keytoolOn(path, "-list")
    expect(listed.match(/^(one|two),/gm)?.sort()).toEqual(["one,", "two,"])
  })

  test("backups go to a folder of their own, told apart and pruned there", async () => {
    const { path, deploy, seed } = place("backups")
    await seed()
    const backup_dir = at("backups", "kept")
    mkdirSync(backup_dir)
    for (const name of ["a", "b"]) await deploy(await leafFor(name), { backup_dir, backup_retention: 1 })
    expect(readdirSync(backup_dir)).toHaveLength(1)
    expect(readdirSync(join(path, ".."))).toEqual(expect.arrayContaining(["server.ks", "kept", "agent"]))
    expect(readdirSync(join(path, "..")).filter((name) => name.includes("certctl"))).toEqual([])
  })

  test("a store that everybody may read keeps its mode, with a warning", async () => {
    const { path, deploy, world, seed } = place("open")
    await seed()
    chmodSync(path, 0o644)
    await deploy(await leafFor("site.example"))
    expect(statSync(path).mode & 0o777).toBe(0o644)
    expect(world.warnings.join()).toContain("readable by everybody")
  })

  test("passwords are never in an argument list, and what a killed agent left in its private folder goes", async () => {
    const seen: string[] = []
    const start = programStarter({})
    mkdirSync(at("arguments"))
    const world = deploying(at("arguments", "agent"), {
      start: (call) => {
        seen.push(...call.args)
        return start(call)
      },
    })
    mkdirSync(at("arguments", "agent", "state", "keystore-0011"))
    writeFileSync(at("arguments", "agent", "state", "keystore-0011", "source.p12"), "key")
    const config = { keystore_path: at("arguments", "s.p12"), keystore_password: password }
    await world.deploy(javaKeystore, config, await leafFor("site.example"), authority.certPem)
    expect(readdirSync(at("arguments", "agent", "state"))).toEqual([])
    expect(seen).toContain("-importkeystore")
    expect(seen.filter((argument) => argument.includes(password))).toEqual([])
    expect(seen.filter((argument) => argument.endsWith("pass") && argument.startsWith("-"))).toEqual([])
  })

  test("a keytool of the operator's choice must be one that the agent may start", async () => {
    const { config, world } = place("own-keytool")
    const limited = { ...world.deps, checkCommand: commandChecker({ allowedPrograms: [keytool ?? ""] }) }
    const check = (keytool_path: string) => javaKeystore.open({ ...config, keytool_path }, limited).check?.()
    await expect(check("/bin/sh")).rejects.toThrow(/keytool_path.*CERTCTL_AGENT_ALLOWED_COMMANDS/)
    await check(keytool ?? "")
    await check("keytool")
  })
})

describe("its configuration", () => {
  const good = { keystore_path: "/etc/s.p12", keystore_password: "changeit" }
  const hostile: [key: string, value: unknown][] = [
    ["keystore_path", "relative.p12"],
    ["keystore_path", "/etc/../etc/s.p12"],
    ["keystore_path", "/etc/s\0.p12"],
    ["keystore_path", 7],
    ["keystore_password", "short"],
    ["keystore_password", "two\nlines"],
    ["keystore_type", "BKS"],
    ["alias", "a b"],
    ["alias", "-storepass"],
    ["alias", "a;reboot"],
    ["alias", "a".repeat(200)],
    ["reload_command", "systemctl restart tomcat; reboot"],
    ["reload_command", "echo $(id)"],
    ["create_keystore", "yes"],
    ["keytool_path", "keytool -J-javaagent:/tmp/x"],
    ["keytool_path", "tools/keytool"],
    ["keytool_path", "/opt/../bin/sh"],
    ["backup_dir", "backups"],
    ["backup_dir", "/a/../b"],
    ["backup_retention", -2],
  ]
  for (const [key, value] of hostile) {
    test(`refuses ${key} ${JSON.stringify(value).slice(0, 40)} by name`, () => {
      expect(() => javaKeystore.open({ ...good, [key]: value }, testTargetDeps("/nonexistent"))).toThrow(
        new RegExp(`${key} (must|is)`),
      )
    })
  }

  test("keeps the password secret, and takes a short reference to one", () => {
    expect(secretKeysOf(javaKeystore.config)).toEqual(["keystore_password"])
    javaKeystore.open({ ...good, keystore_password: "env:P" }, testTargetDeps("/nonexistent"))
  })
})
