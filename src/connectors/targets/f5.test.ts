import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import type { Authority } from "../../pki/authority"
import { type Deployable, deploying, testTargetDeps } from "../../testing/deploying"
import { freePort } from "../../testing/free-port"
import { secretKeysOf } from "../config"
import { f5 } from "./f5"
import { bigIp } from "./f5.client"
import { startFakeBigIp } from "./f5.fake"

describe("F5", () => {
  let folder: string
  let authority: Authority
  let old: Awaited<ReturnType<typeof testLeaf>>
  let fake: Awaited<ReturnType<typeof startFakeBigIp>>
  let world: ReturnType<typeof deploying>

  const config = (extra: Record<string, unknown> = {}) => ({
    host: "127.0.0.1",
    port: fake.port,
    username: fake.username,
    password: fake.password,
    ssl_profile: "www",
    server_ca_path: join(folder, "ca.pem"),
    ...extra,
  })
  const deploy = (leaf: Deployable, extra: Record<string, unknown> = {}, chainPem = authority.certPem) =>
    world.deploy(f5, config(extra), leaf, chainPem)
  const leafFor = (name: string) => testLeaf(authority, [name])
  const profile = (path = "/Common/www") => fake.state.profiles.get(path)
  /** The PEM texts that the profile serves. */
  const served = (path?: string) => [
    fake.state.cert.get(profile(path)?.cert ?? ""),
    fake.state.key.get(profile(path)?.key ?? ""),
    fake.state.cert.get(profile(path)?.chain ?? ""),
  ]
  const own = () =>
    [...fake.state.cert.keys(), ...fake.state.key.keys()].filter((name) => name.includes("/certctl-")).sort()
  const calls = () => fake.state.seen.map(({ method, path }) => `${method} ${path}`)
  const keysLeft = () => [...fake.state.uploads.values()].filter((bytes) => bytes.includes("PRIVATE KEY"))

  beforeAll(async () => {
    authority = await testAuthority()
    old = await leafFor("old")
  })
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "certctl-f5-"))
    fake = await startFakeBigIp()
    fake.addProfile("/Common/www", old)
    writeFileSync(join(folder, "ca.pem"), fake.caPem)
    world = deploying(join(folder, "agent"))
  })
  afterEach(async () => {
    await fake.stop()
    rmSync(folder, { recursive: true })
  })

  test("points the profile at new objects, once, by a transaction", async () => {
    const leaf = await leafFor("one")
    expect((await deploy(leaf)).isIdempotent).toBe(false)
    expect(served()).toEqual([leaf.certPem, leaf.keyPem, authority.certPem])
    expect(profile()?.cert).toMatch(/^\/Common\/certctl-cert-\d{19}\.crt$/)
    expect(profile()?.key).toMatch(/^\/Common\/certctl-key-\d{19}\.key$/)
    expect(profile()?.chain).toMatch(/^\/Common\/certctl-chain-\d{19}\.crt$/)
    expect(fake.state.transactions.size).toBe(1)
    expect(fake.state.logins).toBe(1)
    fake.state.seen.length = 0
    expect((await deploy(leaf)).isIdempotent).toBe(true)
    expect(calls().filter((call) => !call.startsWith("GET") && !call.endsWith("login"))).toEqual([])
  })

  test("no key stays in the upload folder, and no secret was in an address", async () => {
    await deploy(await leafFor("one"))
    expect(keysLeft()).toEqual([])
    expect(calls().join()).not.toContain(encodeURIComponent(fake.password))
    const [file = ""] = readdirSync(join(folder, "agent/state"))
    expect(statSync(join(folder, "agent/state", file)).mode & 0o777).toBe(0o600)
    expect(readFileSync(join(folder, "agent/state", file), "utf8")).not.toContain("PRIVATE")
  })

  test("in another partition everything is in that partition", async () => {
    fake.addProfile("/Web/site", old)
    const leaf = await leafFor("one")
    await deploy(leaf, { partition: "Web", ssl_profile: "site" }, "")
    expect(served("/Web/site")).toEqual([leaf.certPem, leaf.keyPem, undefined])
    expect(own().every((name) => name.startsWith("/Web/"))).toBe(true)
  })

  test("keeps the current and the previous objects of its own, and nobody else's are touched", async () => {
    fake.addProfile("/Common/other", old)
    await deploy(await leafFor("x"), { ssl_profile: "other" })
    const [neighbours, strangers] = [own(), [...fake.state.cert.keys()]]
    for (const name of ["one", "two", "three", "four"]) await deploy(await leafFor(name))
    const mine = own().filter((name) => !neighbours.includes(name))
    expect(mine).toHaveLength(6)
    expect(mine).toEqual(expect.arrayContaining(Object.values(profile() ?? {})))
    for (const name of strangers) expect(fake.state.cert.has(name)).toBe(true)
  })

  test("a token that has expired is replaced once; a wrong password fails without being repeated", async () => {
    const session = bigIp({ host: "127.0.0.1", port: fake.port, ca: fake.caPem, timeoutMs: 5000 }, fake)
    await session.profile("/Common/www")
    fake.state.tokens.clear()
    await session.profile("/Common/www")
    expect(fake.state.logins).toBe(2)
    const failure = deploy(await leafFor("one"), { password: "hunter2" })
    await expect(failure).rejects.toThrow("F5, login of certctl: HTTP 401: Authentication failed.")
    await failure.catch((error) => expect(String(error)).not.toContain("hunter2"))
    fake.state.failure = { at: "before", path: /client-ssl/, method: "GET", status: 401 }
    await session.profile("/Common/www")
    expect(fake.state.logins).toBe(3)
  })

  test("a file longer than a piece goes up in pieces", async () => {
    const session = bigIp({ host: "127.0.0.1", port: fake.port, ca: fake.caPem, timeoutMs: 20_000 }, fake)
    const content = Buffer.alloc(2.5 * 1024 * 1024, "x")
    await session.upload("long", content)
    expect(fake.state.uploads.get("long")?.equals(content)).toBe(true)
    expect(calls().filter((call) => call.endsWith("/long"))).toHaveLength(3)
  })

  describe("a failure leaves the old pair in place and nothing behind:", () => {
    const steps: [words: string, path: RegExp, method: string][] = [
      ["uploading the key", /uploads\/certctl-key/, "POST"],
      ["installing the certificate", /crypto\/cert$/, "POST"],
      ["installing the key", /crypto\/key$/, "POST"],
      ["beginning the transaction", /transaction$/, "POST"],
      ["changing the profile", /client-ssl/, "PATCH"],
      ["committing", /transaction\/\d+$/, "PATCH"],
    ]
    for (const [words, path, method] of steps) {
      for (const at of ["before", "after"] as const) {
        test(`${words}, ${at} it was done`, async () => {
          fake.state.failure = { at, path, method, status: 500 }
          await expect(deploy(await leafFor("one"))).rejects.toThrow(
            /pointing \/Common\/www.*HTTP 500: the fake was told/,
          )
          expect(served()).toEqual([old.certPem, old.keyPem, undefined])
          expect(own()).toEqual([])
          expect(keysLeft()).toEqual([])
        })
      }
    }

    test("a transaction that has expired", async () => {
      fake.state.forgetsTransactions = true
      await expect(deploy(await leafFor("one"))).rejects.toThrow(/committing: HTTP 404: there is no transaction/)
      expect(own()).toEqual([])
    })

    test("a key that does not belong to the certificate, in the device's words", async () => {
      const [one, two] = [await leafFor("one"), await leafFor("two")]
      await expect(deploy({ ...one, keyPem: two.keyPem })).rejects.toThrow(/committing: HTTP 400: .*do not match/)
      expect(served()[0]).toBe(old.certPem)
      expect(own()).toEqual([])
    })

    test("a proof that fails after the commit", async () => {
      const first = await leafFor("first")
      await deploy(first)
      const before = [profile(), own()]
      const server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        tls: { cert: first.certPem, key: first.keyPem },
        fetch: () => new Response(),
      })
      try {
        const proof = { verify_host: "127.0.0.1", verify_port: server.port, post_deploy_verify_backoff: "5ms" }
        await expect(deploy(await leafFor("one"), proof)).rejects.toThrow(/proof on the wire failed/)
        expect([profile(), own()]).toEqual(before)
      } finally {
        await server.stop(true)
      }
    })
  })

  test("what a killed run left is gone after the next deployment", async () => {
    const killed = await f5.open(config(), world.deps).plan({
      certificateId: "mc-site",
      jobId: "job-1",
      certPem: (await leafFor("one")).certPem,
      chainPem: authority.certPem,
      keyPem: (await leafFor("other")).keyPem,
    })
    const [step] = killed.steps
    // Its key does not fit, so it ends before the commit; nobody undoes it.
    await expect(step?.kind === "action" ? step.run() : Promise.resolve()).rejects.toThrow("do not match")
    expect(own()).toHaveLength(3)
    const leaf = await leafFor("next")
    await deploy(leaf)
    expect(served()[0]).toBe(leaf.certPem)
    expect(own()).toHaveLength(3)
  })

  test("objects that cannot be removed are a warning", async () => {
    await deploy(await leafFor("one"))
    await deploy(await leafFor("two"))
    fake.state.failure = { at: "before", path: /crypto\/cert\//, method: "DELETE", status: 400 }
    const leaf = await leafFor("three")
    await deploy(leaf)
    expect(served()[0]).toBe(leaf.certPem)
    expect(world.warnings.join()).toMatch(/tidying up.*HTTP 400/)
    await deploy(await leafFor("four"))
    expect(own()).toHaveLength(6)
  })

  test("is not spoken to when its certificate is not of the given authority, unless told so", async () => {
    writeFileSync(join(folder, "ca.pem"), authority.certPem)
    await expect(deploy(await leafFor("one"))).rejects.toThrow(/certificate|verify/)
    await expect(deploy(await leafFor("one"), { server_ca_path: undefined })).rejects.toThrow(/certificate|verify/)
    expect(fake.state.seen).toEqual([])
    await deploy(await leafFor("one"), { insecure: true, server_ca_path: undefined })
    expect(world.warnings.join()).toContain("insecure is set")
    await expect(deploy(await leafFor("two"), { server_ca_path: "/nowhere.pem" })).rejects.toThrow(
      /server_ca_path: ENOENT/,
    )
  })

  test("the check logs in and reads the profile", async () => {
    const check = (extra: Record<string, unknown> = {}) =>
      f5.open(config(extra), world.deps).check?.() ?? Promise.resolve()
    await check()
    expect(own()).toEqual([])
    await expect(check({ ssl_profile: "missing" })).rejects.toThrow(/HTTP 404: .*\/Common\/missing.* was not found/)
    await expect(check({ username: "nobody" })).rejects.toThrow("HTTP 401")
    await expect(check({ port: await freePort() })).rejects.toThrow(/https:\/\/127\.0\.0\.1/)
    fake.state.hangs = true
    await expect(check({ timeout: 0.2 })).rejects.toThrow("no answer within 0.2 s")
  })

  test("a profile with several certificates is refused untouched, by the check too", async () => {
    const present = profile() ?? {}
    const entry = (name: string) => ({ name, cert: present.cert ?? "", key: present.key ?? "" })
    fake.state.profiles.set("/Common/www", { ...present, certKeyChain: [entry("www_rsa"), entry("www_ecdsa")] })
    const words = /ssl_profile: .* holds several certificates \(www_rsa, www_ecdsa\)/
    await expect(deploy(await leafFor("one"))).rejects.toThrow(words)
    await expect(f5.open(config(), world.deps).check?.()).rejects.toThrow(words)
    expect(profile()).toMatchObject(present)
    expect(calls().filter((call) => !call.startsWith("GET") && !call.endsWith("login"))).toEqual([])
  })

  test("two deployments at once leave the pair of one of them", async () => {
    const leaves = [await leafFor("one"), await leafFor("two")]
    await Promise.all(leaves.map((leaf) => deploy(leaf)))
    expect(leaves.map(({ certPem, keyPem }) => [certPem, keyPem, authority.certPem])).toContainEqual(
      served() as string[],
    )
  })
})

describe("its configuration", () => {
  const good = { host: "bigip", username: "u", password: "p", ssl_profile: "www" }
  const hostile: [key: string, value: unknown][] = [
    ["host", "bigip/../x"],
    ["host", "user@bigip"],
    ["host", "bigip?x"],
    ["host", "a".repeat(254)],
    ["host", "big\r\nip"],
    ["port", 0],
    ["port", 70000],
    ["username", ""],
    ["password", undefined],
    ["partition", "Common/x"],
    ["partition", "~Common"],
    ["partition", ""],
    ["ssl_profile", "../www"],
    ["ssl_profile", "/Common/www"],
    ["ssl_profile", "www*"],
    ["ssl_profile", "a".repeat(257)],
    ["insecure", "yes"],
    ["server_ca_path", "ca.pem"],
    ["timeout", "soon"],
  ]
  for (const [key, value] of hostile) {
    test(`refuses ${key} ${JSON.stringify(value)?.slice(0, 40)} by name`, () => {
      expect(() => f5.open({ ...good, [key]: value }, testTargetDeps("/nonexistent"))).toThrow(new RegExp(`^${key}`))
    })
  }
  test("keeps the password secret", () => expect(secretKeysOf(f5.config)).toEqual(["password"]))
})
