/** The command line as people run it: a process of its own against a real server over TLS. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testAuthority, testLeaf } from "../../agent/agent-server.fake"
import { freePort } from "../testing/free-port"
import { type RunningServer, startServer } from "./server"

// Each command is a process: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const main = join(import.meta.dir, "../main.ts")
const path = process.env.PATH ?? ""

let folder: string
let server: RunningServer
let url: string
/** What somebody on the server's own host has. */
let bare: Record<string, string>
/** The same with a key. */
let local: Record<string, string>
/** What somebody elsewhere has: address, key and CA. */
let remote: Record<string, string>
const children = new Set<Bun.Subprocess>()

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

const start = (args: readonly string[], env: Record<string, string>, stdin = "") => {
  const child = Bun.spawn([process.execPath, main, ...args], {
    env: { PATH: path, HOME: folder, CERTCTL_DATA_DIR: join(folder, "nowhere"), ...env },
    stdin: new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
  })
  children.add(child)
  child.exited.then(() => children.delete(child))
  return child
}

const run = async (args: readonly string[], env = local, stdin = ""): Promise<Outcome> => {
  const child = start(args, env, stdin)
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, out, err }
}

/** The standard output of a command that succeeds. */
const ok = async (args: readonly string[], env = local, stdin = ""): Promise<string> => {
  const { code, out, err } = await run(args, env, stdin)
  if (code !== 0) throw new Error(`certctl ${args.join(" ")} ended with ${code}: ${err}`)
  return out
}

const json = async (args: readonly string[], env = local, stdin = "") =>
  JSON.parse(await ok(["--json", ...args], env, stdin))

/** The rows of a printed table, as objects; and what stands under it. */
const tableIn = (text: string) => {
  const [head = "", ...rest] = text.trimEnd().split("\n")
  const columns = Array.from(head.matchAll(/\S+(?: \S+)*/g))
  const names = columns.map(([name]) => name)
  const starts = columns.map(({ index }) => index)
  const footer = rest.pop()
  const rows = rest.map((line) =>
    Object.fromEntries(names.map((name, i) => [name, line.slice(starts[i], starts[i + 1]).trim()])),
  )
  return { names, rows, footer }
}

const linesIn = (text: string): Record<string, string> =>
  Object.fromEntries(
    text
      .trimEnd()
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
  )

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "certctl-cli-"))
  const dataDir = join(folder, "server")
  const port = await freePort()
  server = await startServer({
    CERTCTL_DATA_DIR: dataDir,
    CERTCTL_SERVER_PORT: String(port),
    CERTCTL_LOG_LEVEL: "error",
    CERTCTL_RATE_LIMIT_ENABLED: "false",
    CERTCTL_SCHEDULER_JOB_PROCESSOR_INTERVAL: "1s",
  })
  url = `https://localhost:${port}`
  bare = { CERTCTL_DATA_DIR: dataDir, CERTCTL_SERVER_PORT: String(port) }
  const ca = join(folder, "ca.pem")
  writeFileSync(ca, server.caCertificatePem ?? "")
  const keyFile = join(folder, "key")
  writeFileSync(keyFile, `${server.firstKey?.key}\n`)
  local = { ...bare, CERTCTL_API_KEY: `file:${keyFile}` }
  remote = { CERTCTL_SERVER_URL: url, CERTCTL_API_KEY: `file:${keyFile}`, CERTCTL_SERVER_CA_BUNDLE_PATH: ca }
  await ok(["teams", "create", "--name", "web", "--id", "t-web"])
  await ok(["owners", "create", "--name", "ann", "--id", "o-ann", "--team-id", "t-web", "--email", "ann@example.com"])
})

afterAll(async () => {
  for (const child of children) child.kill("SIGTERM")
  await Promise.all([...children].map((child) => child.exited))
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

describe("without a server", () => {
  const offline = { CERTCTL_SERVER_URL: "https://127.0.0.1:1" }

  test("help and version of this program work", async () => {
    const help = await run(["--help"], offline)
    expect(help).toMatchObject({ code: 0, err: "" })
    expect(help.out).toContain("certs")
    expect((await run(["agents", "token", "create", "--help"], offline)).code).toBe(0)
    expect(await run(["--version"], offline)).toMatchObject({ code: 0, err: "" })
    expect(await run(["version"], {})).toMatchObject({ code: 0, err: "", out: expect.stringMatching(/^certctl \d/) })
  })

  test("version says that the server's is not to be had, and succeeds", async () => {
    const { code, out, err } = await run(["version"], offline)
    expect(code).toBe(0)
    expect(out).toStartWith("certctl ")
    expect(err).toContain("https://127.0.0.1:1")
  })

  test("a call fails with 1 and says what could not be reached", async () => {
    const { code, out, err } = await run(["certs", "list"], offline)
    expect({ code, out }).toEqual({ code: 1, out: "" })
    expect(err).toContain("https://127.0.0.1:1")
    const assumed = await run(["certs", "list"], { CERTCTL_SERVER_PORT: "1" })
    expect(assumed.code).toBe(1)
    expect(assumed.err).toContain("CERTCTL_SERVER_URL")
  })
})

describe("called wrongly, it ends with 2:", () => {
  const wrong: readonly (readonly string[])[] = [
    [],
    ["bogus"],
    ["certs"],
    ["certs", "bogus"],
    ["certs", "list", "--bogus"],
    ["certs", "get"],
    ["certs", "get", ".."],
    ["certs", "list", "--per-page", "501"],
    ["certs", "list", "--expires-before", "soon"],
    ["certs", "create", "--common-name", "x"],
    ["--format", "yaml", "certs", "list"],
    ["keys", "create", "--name", "x", "--role", "god"],
    ["agents", "token", "create", "--ttl", "soon"],
    ["import", "x.pem", "--owner-id", "o"],
    ["teams", "update", "t-web"],
    ["targets", "create", "--name", "x", "--type", "NGINX", "--agent-id", "a", "--config", '{"password": hunter2}'],
  ]
  for (const args of wrong) {
    test(`certctl ${args.join(" ")}`, async () => {
      const { code, out, err } = await run(args)
      expect({ code, out }).toEqual({ code: 2, out: "" })
      expect(err).not.toBe("")
      expect(err).not.toContain("hunter2")
    })
  }
})

describe("trust and keys", () => {
  test("the server's host needs no settings, and its first key goes nowhere else", async () => {
    expect(linesIn(await ok(["status"], bare))).toMatchObject({ Server: url, Status: "healthy" })
    // The very same server, but named: now it is some server.
    const named = await run(["--insecure", "certs", "list"], { ...bare, CERTCTL_SERVER_URL: url })
    expect(named.code).toBe(1)
    expect(named.err).toContain("CERTCTL_API_KEY")
  })

  test("a CA that nobody vouched for is refused, and accepted with its bundle", async () => {
    const { CERTCTL_SERVER_CA_BUNDLE_PATH: bundle = "", ...rest } = remote
    const refused = await run(["certs", "list"], rest)
    expect(refused.code).toBe(1)
    expect(refused.err).toContain("--ca-bundle")
    expect((await run(["--ca-bundle", bundle, "certs", "list"], rest)).code).toBe(0)
    const blind = await run(["certs", "list", "--insecure"], rest)
    expect(blind.code).toBe(0)
    expect(blind.err).toContain("not verified")
  })

  test("a key that is unknown, missing or unreadable says what to do, and is not repeated", async () => {
    const bad = await run(["--api-key", "certctl_wrong", "certs", "list"], remote)
    expect(bad.code).toBe(1)
    expect(bad.err).toContain("Invalid API key")
    expect(bad.err).toContain("--api-key file:PATH")
    expect(bad.err).not.toContain("certctl_wrong")
    const { CERTCTL_API_KEY: _, ...rest } = remote
    const none = await run(["certs", "list"], rest)
    expect(none.code).toBe(1)
    expect(none.err).toContain("give a key")
    expect((await run(["certs", "list"], { ...rest, CERTCTL_API_KEY: "file:/does/not/exist" })).code).toBe(1)
  })

  test("the global options stand before the command or after it", async () => {
    const before = await ok(["--server", url, "--format", "json", "teams", "list"], remote)
    expect(await ok(["teams", "list", "--json"], remote)).toBe(before)
    expect(JSON.parse(before).total).toBe(1)
  })

  test("keys are made, listed, rotated and disabled, each shown once", async () => {
    const made = await run(["keys", "create", "--name", "reader", "--role", "viewer"], remote)
    expect(made.code).toBe(0)
    const key = made.out.trim()
    // The first key's file is gone with the first key that somebody made.
    expect((await run(["teams", "list"], bare)).err).toContain("give a key")
    expect(key).toMatch(/^\S{20,}$/)
    const reader = { ...remote, CERTCTL_API_KEY: key }
    expect((await run(["teams", "list"], reader)).code).toBe(0)
    const denied = await run(["teams", "create", "--name", "no"], reader)
    expect(denied.code).toBe(1)
    expect(denied.err).toContain("operator access required")

    const listed = tableIn(await ok(["keys", "list"], remote))
    expect(listed.names).toEqual(["ID", "NAME", "PRINCIPAL", "ROLE", "CREATED", "LAST USED", "DISABLED"])
    const row = listed.rows.find(({ NAME }) => NAME === "reader")
    expect(row).toMatchObject({ ROLE: "viewer", CREATED: expect.stringMatching(/^\d{4}-\d\d-\d\d$/) })
    const rotated = (await ok(["keys", "rotate", row?.ID ?? ""], remote)).trim()
    expect(rotated).not.toBe(key)
    expect((await run(["teams", "list"], reader)).code).toBe(1)
    const renewed = { ...remote, CERTCTL_API_KEY: rotated }
    expect((await run(["teams", "list"], renewed)).code).toBe(0)
    const id = (await json(["keys", "list"], remote)).data.find(
      (found: { name: string; disabled_at?: string }) => found.name === "reader" && found.disabled_at === undefined,
    ).id
    await ok(["keys", "disable", id], remote)
    expect((await run(["teams", "list"], renewed)).code).toBe(1)
  })
})

describe("resources", () => {
  test("are created, shown, changed, listed and deleted", async () => {
    const team = await json(["teams", "create", "--name", "mail", "--description", "post"])
    expect(linesIn(await ok(["teams", "get", team.id]))).toMatchObject({ ID: team.id, Name: "mail" })
    await ok(["teams", "update", team.id, "--description", "letters"])
    const { names, rows, footer } = tableIn(await ok(["teams", "list"]))
    expect(names).toEqual(["ID", "NAME", "DESCRIPTION"])
    expect(rows).toContainEqual({ ID: team.id, NAME: "mail", DESCRIPTION: "letters" })
    expect(footer).toBe(`Total: ${rows.length}`)
    expect(await json(["teams", "delete", team.id])).toEqual({ status: "deleted" })
    const gone = await run(["teams", "get", team.id])
    expect(gone.code).toBe(1)
    expect(gone.err).toContain(team.id)
  })

  test("take numbers, switches, lists and JSON, from standard input too", async () => {
    const policy = await json([
      "renewal-policies",
      "create",
      "--name",
      "slow",
      "--renewal-window-days",
      "20",
      "--auto-renew",
      "false",
      "--alert-thresholds-days",
      "10,5",
    ])
    expect(policy).toMatchObject({ renewal_window_days: 20, auto_renew: false, alert_thresholds_days: [10, 5] })
    const rules = JSON.stringify([{ algorithm: "RSA", min_size: 4096 }])
    const profile = await json(
      ["profiles", "create", "--name", "strict", "--allowed-key-algorithms-file", "-", "--allowed-ekus", "serverAuth"],
      local,
      rules,
    )
    expect(profile).toMatchObject({ allowed_key_algorithms: JSON.parse(rules), allowed_ekus: ["serverAuth"] })
    expect((await ok(["policies", "list"])).split("\n")[0]).toMatch(/^ID +NAME +WINDOW DAYS/)
    expect(tableIn(await ok(["issuers", "list"])).rows).toContainEqual(expect.objectContaining({ ID: "iss-local" }))
    expect(await ok(["issuers", "test", "iss-local"])).toContain("can be used")
  })

  test("that others refer to are not deleted, and it says so", async () => {
    const { code, err } = await run(["teams", "delete", "t-web"])
    expect(code).toBe(1)
    expect(err).toStartWith("certctl: ")
  })
})

describe("certificates", () => {
  const names = ["--owner-id", "o-ann", "--team-id", "t-web"] as const

  test("a long list goes through a pipe whole, and a reader that stops early is no failure", async () => {
    const sans = Array.from({ length: 90 }, (_, i) => `host-${i}.a-rather-long-name-to-fill-the-pipe.example.com`)
    const { certificates } = server.wired.services
    for (let i = 0; i < 60; i++) {
      await certificates.create(
        {
          name: `piped-${i}`,
          commonName: `p${i}.example.com`,
          sans,
          environment: "pipe",
          ownerId: "o-ann",
          teamId: "t-web",
          issuerId: "iss-local",
          renewalPolicyId: "rp-default",
          certificateProfileId: null,
          targetIds: [],
          tags: {},
        },
        { name: "tester", type: "User", role: "admin" },
      )
    }
    const args = ["--json", "certs", "list", "--env", "pipe", "--per-page", "500"]
    const child = Bun.spawn(
      ["sh", "-c", `"$@" | { read -r first; echo "$first"; cat; }`, "sh", process.execPath, main, ...args],
      {
        env: { PATH: path, HOME: folder, ...local },
        stderr: "pipe",
      },
    )
    const text = await new Response(child.stdout).text()
    expect(text.length).toBeGreaterThan(200_000)
    expect(JSON.parse(text).data).toHaveLength(60)

    const early = Bun.spawn(["sh", "-c", `"$@" | head -n 1`, "sh", process.execPath, main, ...args], {
      env: { PATH: path, HOME: folder, ...local },
      stderr: "pipe",
    })
    expect(await new Response(early.stdout).text()).toBe("{\n")
    expect(await new Response(early.stderr).text()).toBe("")

    const page = await run(["certs", "list", "--env", "pipe", "--limit", "2", "--page", "2"])
    expect(tableIn(page.out)).toMatchObject({
      names: ["ID", "COMMON NAME", "STATUS", "EXPIRES", "ISSUER"],
      rows: [{ STATUS: "Pending", EXPIRES: "-", ISSUER: "iss-local" }, {}],
      footer: "Total: 60",
    })
    expect(page.err).toContain("2 of 60 shown")
    const fields = tableIn(await ok(["certs", "list", "--env", "pipe", "--fields", "name,owner_id", "--sort", "-name"]))
    expect(fields.names).toEqual(["NAME", "OWNER ID"])
    expect(fields.rows[0]).toEqual({ NAME: "piped-9", "OWNER ID": "o-ann" })
  })

  test("are created, issued, deployed, shown and archived", async () => {
    const token = (await ok(["agents", "token", "create", "--ttl", "10m"])).trim()
    const agentEnv = {
      CERTCTL_DATA_DIR: join(folder, "agent"),
      CERTCTL_VERIFY_DEPLOYMENT: "false",
      CERTCTL_LOG_LEVEL: "error",
      CERTCTL_DEPLOY_BACKUP_RETENTION: "0",
    }
    expect(await ok(["agent", "join", "--server", url, "--name", "edge"], agentEnv, token)).toContain(`joined ${url}`)
    start(["agent"], agentEnv)

    const [agent] = tableIn(await ok(["agents", "list"])).rows
    expect(agent).toMatchObject({ STATUS: "Online", OS: "linux" })
    const agentId = agent?.ID ?? ""
    expect(linesIn(await ok(["agents", "get", agentId]))).toMatchObject({
      Name: "edge",
      "Last Heartbeat": expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$/),
    })
    expect(tableIn(await ok(["agents", "token", "list"])).rows).toContainEqual(
      expect.objectContaining({ AGENT: agentId }),
    )

    mkdirSync(join(folder, "site"))
    const config = JSON.stringify({
      cert_path: join(folder, "site", "site.pem"),
      key_path: join(folder, "site", "site.key"),
      validate_command: "true",
      reload_command: "true",
    })
    const configFile = join(folder, "target.json")
    writeFileSync(configFile, config)
    const target = await json([
      "targets",
      "create",
      "--name",
      "site",
      "--type",
      "NGINX",
      "--agent-id",
      agentId,
      "--config-file",
      configFile,
    ])
    expect(target.config.cert_path).toBe(join(folder, "site", "site.pem"))
    expect(tableIn(await ok(["targets", "list"])).rows).toContainEqual(
      expect.objectContaining({ ID: target.id, TYPE: "NGINX", AGENT: agentId }),
    )

    const created = await run(
      [
        "certs",
        "create",
        "--common-name",
        "site.example",
        "--san",
        "www.site.example",
        "--target-id",
        target.id,
      ].concat(names, ["--tag", "tier=1", "--wait"]),
    )
    expect(created).toMatchObject({ code: 0, out: expect.stringContaining(`deployed to ${target.id}`) })
    expect(created.err).toContain("Deployment")
    const id = /created (mc-\S+)/.exec(created.err)?.[1] ?? ""
    expect(linesIn(await ok(["certs", "get", id]))).toMatchObject({
      "Common Name": "site.example",
      Status: "Active",
      "Expires At": expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
      SANs: "www.site.example",
    })
    expect(tableIn(await ok(["certs", "versions", id])).footer).toBe("Total: 1")
    expect((await ok(["search", "WW.SITE", "--kinds", "certificate"])).split(/ {2,}|\n/)).toEqual(
      [
        ["KIND", "ID", "NAME", "DETAILS", "STATUS", "MATCH"],
        ["certificate", id, "site.example", "www.site.example", "Active", "substring sans", ""],
      ].flat(),
    )
    expect(await ok(["search", "nowhere-at-all"])).toBe("Nothing found.\n")

    const renewal = await json(["certs", "renew", id, "--wait"])
    expect(renewal.jobs.map(({ type, status }: Record<string, string>) => `${type} ${status}`)).toEqual([
      "Renewal Completed",
      "Deployment Completed",
    ])
    const jobs = tableIn(await ok(["jobs", "list", "--certificate", id, "--type", "Renewal"]))
    expect(jobs.names).toEqual(["ID", "TYPE", "CERTIFICATE", "STATUS", "ATTEMPTS"])
    expect(jobs.rows).toEqual([
      { ID: renewal.job_id, TYPE: "Renewal", CERTIFICATE: id, STATUS: "Completed", ATTEMPTS: expect.any(String) },
    ])
    expect(linesIn(await ok(["jobs", "get", renewal.job_id, "--wait"]))).toMatchObject({ Status: "Completed" })
    expect(await ok(["certs", "deploy", id])).toContain("triggered")

    const blocked = await run(["agents", "retire", agentId])
    expect(blocked.code).toBe(1)
    expect(linesIn(blocked.err)).toMatchObject({ "Active Targets": "1", "Active Certificates": "1" })

    // From now on its deployments fail, and waiting for them says so.
    await ok([
      "targets",
      "update",
      target.id,
      "--config",
      JSON.stringify({ ...JSON.parse(config), validate_command: "false" }),
    ])
    const failed = await run(["certs", "renew", id, "--wait"])
    expect(failed.code).toBe(1)
    expect(failed.out).toContain("did not succeed")
    expect(failed.err).toMatch(/Deployment job-\S+ to \S+: Failed \(/)

    // Taken away as files, given to somebody else, revoked.
    const pem = await ok(["certs", "export", id])
    expect(pem).toStartWith("-----BEGIN CERTIFICATE-----")
    expect((await json(["certs", "export", id])).full_pem.trim()).toBe(pem.trim())
    const [pemFile, storeFile] = [join(folder, "site.pem"), join(folder, "site.p12")]
    expect(await run(["certs", "export", id, "--pem", pemFile])).toMatchObject({ code: 0, out: "" })
    expect(readFileSync(pemFile, "utf8").trim()).toBe(pem.trim())
    const passwordFile = join(folder, "password")
    writeFileSync(passwordFile, "secret word\n")
    await ok(["certs", "export", id, "--p12", "--out", storeFile, "--password-file", passwordFile])
    const fromFile = readFileSync(storeFile)
    expect(fromFile[0]).toBe(0x30)
    await ok(["certs", "export", id, "--pkcs12", storeFile, "--password-stdin"], local, "secret word")
    expect(readFileSync(storeFile).length).toBe(fromFile.length)
    expect((await run(["certs", "export", id, "--pem", "--p12"])).code).toBe(2)
    expect((await run(["certs", "export", id, "--password-stdin"])).code).toBe(2)

    await ok(["owners", "create", "--name", "bea", "--id", "o-bea", "--team-id", "t-web"])
    const reassigned = await run(["certs", "bulk-reassign", id, "mc-unknown", "--owner-id", "o-bea"])
    expect(reassigned.code).toBe(1)
    expect(linesIn(reassigned.out)).toEqual({ Matched: "1", Reassigned: "1", Skipped: "0", Failed: "1" })
    expect(reassigned.err).toContain("mc-unknown: certificate mc-unknown does not exist")
    expect(linesIn(await ok(["certs", "bulk-renew", "--owner-id", "o-bea"]))).toEqual({
      Matched: "1",
      Enqueued: "1",
      Skipped: "0",
      Failed: "0",
    })
    expect((await run(["certs", "bulk-renew"])).code).toBe(2)
    expect((await run(["certs", "revoke", id])).code).toBe(2)
    const refused = await run(["certs", "revoke", id, "--reason", "because"])
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("reason must be one of unspecified") })
    expect(await ok(["certs", "revoke", id, "--reason", "key_compromise"])).toContain(
      `${id} was revoked (keyCompromise)`,
    )
    expect((await json(["certs", "get", id])).revocation_reason).toBe("keyCompromise")
    expect(linesIn(await ok(["certs", "bulk-revoke", id, "--reason", "superseded"]))).toEqual({
      Matched: "1",
      Revoked: "0",
      Skipped: "1",
      Failed: "0",
    })

    expect(linesIn(await ok(["agents", "retire", agentId, "--force", "--reason", "test"]))).toMatchObject({
      Retired: agentId,
      Cascade: "true",
    })
    expect(tableIn(await ok(["agents", "list", "--retired"])).rows).toMatchObject([{ ID: agentId, REASON: "test" }])
    await ok(["certs", "archive", id])
    expect(linesIn(await ok(["certs", "get", id])).Status).toBe("Archived")
  })

  test("without anybody to make the key wait, which is told, and can be cancelled", async () => {
    const certificate = await json(["certs", "create", "--common-name", "lonely.example", ...names])
    const triggered = await ok(["certs", "renew", certificate.id])
    const jobId = /Job ID: (\S+)/.exec(triggered)?.[1] ?? ""
    const slow = await run(["jobs", "get", jobId, "--wait", "--timeout", "300ms"])
    expect(slow.code).toBe(1)
    expect(slow.err).toContain("no agent serves this certificate yet")
    const again = await run(["certs", "renew", certificate.id])
    expect(again.code).toBe(1)
    await ok(["jobs", "cancel", jobId])
    const cancelled = await run(["jobs", "get", jobId, "--wait"])
    expect(cancelled.code).toBe(1)
    expect(linesIn(cancelled.out)).toMatchObject({ Status: "Cancelled", "Last Error": "cancelled by user" })
  })

  test("that need approval are approved and rejected by somebody else", async () => {
    await ok(["profiles", "create", "--name", "approved", "--id", "prof-approved", "--requires-approval", "true"])
    const create = ["certs", "create", "--profile-id", "prof-approved", ...names, "--issue"]
    const first = await json([...create, "--common-name", "a.example"])
    const second = await json([...create, "--common-name", "b.example"])
    const own = await run(["jobs", "approve", first.job_id])
    expect(own.code).toBe(1)
    const key = (await ok(["keys", "create", "--name", "bob", "--role", "operator"])).trim()
    const bob = { ...remote, CERTCTL_API_KEY: key }
    expect(await ok(["jobs", "approve", first.job_id], bob)).toContain("was approved")
    await ok(["jobs", "reject", second.job_id, "--reason", "not now"], bob)
    expect((await json(["jobs", "get", second.job_id], remote)).last_error).toBe("rejected: not now")
  })

  test("that exist already are imported from files and folders", async () => {
    const pems = join(folder, "pems")
    mkdirSync(join(pems, "deep"), { recursive: true })
    const authority = await testAuthority()
    const [one, two] = await Promise.all([testLeaf(authority, ["one.example"]), testLeaf(authority, ["two.example"])])
    writeFileSync(join(pems, "one.pem"), one.certPem + one.keyPem)
    writeFileSync(join(pems, "deep", "two.crt"), two.certPem)
    writeFileSync(join(pems, "deep", "again.crt"), two.certPem)
    writeFileSync(join(pems, "notes.txt"), "nothing")
    const flags = [...names, "--issuer-id", "iss-local", "--renewal-policy-id", "rp-default"]
    const done = await run(["import", pems, ...flags, "--name-template", "old {cn}"], remote)
    expect(done).toMatchObject({ code: 0 })
    expect(linesIn(done.out)).toEqual({ Imported: "2", Failed: "0" })
    const listed = await json(["certs", "list", "--env", "imported"], remote)
    expect(listed.data.map(({ name }: { name: string }) => name).sort()).toEqual(["old one.example", "old two.example"])

    // The names are taken now, one file is no PEM, another is not there: all of it is told.
    const repeated = await run(
      ["--json", "import", join(pems, "one.pem"), join(pems, "notes.txt"), join(pems, "missing.pem"), ...flags].concat([
        "--name-template",
        "old {cn}",
      ]),
      remote,
    )
    expect(repeated.code).toBe(1)
    expect(JSON.parse(repeated.out)).toMatchObject({ imported: 0, failed: 3 })
  })
})

describe("a join token", () => {
  test("is alone on standard output, and not on standard error of a script", async () => {
    const { code, out, err } = await run(["agents", "token", "create"], remote)
    expect(code).toBe(0)
    expect(out).toMatch(/^jt-[\w-]+\.[\w-]+\.[0-9a-f]{64}\n$/)
    expect(err).toContain(`certctl agent join --server ${url} --token TOKEN`)
    expect(err).not.toContain(out.trim())
  })

  test("is in the JSON answer, and can be revoked", async () => {
    const made = await json(["agents", "token", "create", "--ttl", "2h"], remote)
    expect(Date.parse(made.expires_at) - Date.parse(made.created_at)).toBe(7_200_000)
    expect(made.token).toStartWith(`${made.id}.`)
    await ok(["agents", "token", "revoke", made.id], remote)
    const listed = await json(["agents", "token", "list"], remote)
    expect(listed.data.map(({ id }: { id: string }) => id)).not.toContain(made.id)
  })
})

test("version asks the server that is named", async () => {
  const answer = await json(["version"], remote)
  expect(answer.server.version).toBe(answer.client.version)
  expect((await ok(["version"], remote)).split("\n")[1]).toStartWith("server ")
})
