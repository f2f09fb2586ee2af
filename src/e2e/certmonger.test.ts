/** certmonger, the daemon that keeps certificates of Linux hosts, enrols over SCEP and renews by itself. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { parseCertificate } from "../pki/certificate"
import { keysMatch, readPrivateKey } from "../pki/keys"
import { peer } from "../testing/peers"
import { runner } from "../testing/runner"
import { serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(180_000)
const waitMs = 60_000

const certmonger = peer("certmonger", "certmonger") ?? ""
const getcert = peer("getcert", "certmonger") ?? ""
const faketime = peer("faketime", "faketime") ?? ""

let stage: Stage | undefined
afterEach(() => stage?.end())

/** A certmonger of its own, without a message bus: its files and the socket that `getcert` talks to are in the stage's folder. */
const openDaemon = (here: Stage) => {
  const at = (name: string) => here.at("certmonger", name)
  const env = {
    CERTMONGER_CONFIG_DIR: at("config"),
    CERTMONGER_REQUESTS_DIR: at("requests"),
    CERTMONGER_CAS_DIR: at("cas"),
    CERTMONGER_LOCAL_CA_DIR: at("local"),
    CERTMONGER_TMPDIR: at("tmp"),
    CERTMONGER_SYSTEM_LOCK_FILE: at("lock"),
    CERTMONGER_PVT_ADDRESS: `unix:path=${at("socket")}`,
  }
  for (const folder of ["config", "requests", "cas", "local", "tmp"]) mkdirSync(at(folder), { recursive: true })
  // Seconds before the end at which it renews.
  writeFileSync(at("config/certmonger.conf"), "[defaults]\nenroll_ttls = 5400\n")
  const run = runner(here)
  const get = (...args: string[]): Promise<string> => run([getcert, ...args], env)
  /** What makes a program's clock another one. `faketime` itself would stand between the test and the daemon. */
  const clockEnv = async (shift: string): Promise<Record<string, string>> => {
    const text = await run([faketime, "-f", shift, "/usr/bin/env"])
    return Object.fromEntries(
      [...text.matchAll(/^(LD_PRELOAD|FAKETIME)=(.*)$/gm)].map(([, name, value]) => [name, value]),
    )
  }
  return {
    at,
    get,
    /** @param shift of its clock, such as `+1h` */
    async start(shift?: string) {
      const clock = shift === undefined ? {} : await clockEnv(shift)
      const program = here.run([certmonger, "-s", "-n", "-L", "-P", at("socket"), "-d", "2"], {
        env: { ...env, ...clock },
        name: "certmonger",
        lastSignal: "SIGTERM",
      })
      await until(
        "certmonger listens",
        () => {
          if (program.exitCode() !== null) throw new Error(`certmonger ended: ${program.stderr()}`)
          return get("list-cas").then(Boolean, () => false)
        },
        waitMs,
        50,
      )
      return program
    },
    state: async (id: string) => /status: (\w+)/.exec(await get("list", "-i", id))?.[1] ?? "",
  }
}

describe.skipIf([certmonger, getcert, faketime].includes(""))("certmonger", () => {
  test("has a request answered, renews it when the end is near, and understands a refusal", async () => {
    const here = openStage()
    stage = here
    const password = "for every device"
    // Plain HTTP, as to a proxy that ends TLS: its helper asks a second time without the CA that it was given.
    const server = await serverProcess(here, {
      env: {
        CERTCTL_SERVER_TLS: "off",
        CERTCTL_SCEP_ENABLED: "true",
        CERTCTL_SCEP_CHALLENGE_PASSWORD: password,
        CERTCTL_SCEP_PROFILE_ID: "prof-hosts",
      },
    })
    await server.start()
    await server.post("/api/v1/profiles", { id: "prof-hosts", name: "hosts", max_ttl_seconds: 7200 })
    const { at, get, start, state } = openDaemon(here)
    const daemon = await start()
    await get("add-scep-ca", "-c", "certctl", "-u", `${server.url}/scep`)
    await until(
      "it has the CA's certificates",
      async () => (await get("list-cas", "-c", "certctl", "-v")).includes("SCEP CA certificate thumbprint"),
      waitMs,
      100,
    )
    const request = (id: string, secret: string) => {
      const files = ["-f", at(`${id}.pem`), "-k", at(`${id}.key`)]
      const names = ["-N", `CN=${id}.example.com`, "-D", `${id}.example.com`]
      return get("request", "-c", "certctl", "-I", id, ...files, ...names, "-L", secret)
    }
    const serial = (id: string): string => {
      const certificate = parseCertificate(readFileSync(at(`${id}.pem`), "utf8"))
      expect(certificate.commonName).toBe(`${id}.example.com`)
      expect(keysMatch(readPrivateKey(readFileSync(at(`${id}.key`), "utf8")), certificate.der)).toBe(true)
      return certificate.serial
    }
    const isKept = (id: string) =>
      until(`${id} has a certificate`, async () => (await state(id)) === "MONITORING", waitMs, 100)
    // One with the password of all, the other with one that is good for the first time only.
    const hosts = { host: password, single: (await server.post("/api/v1/scep/challenges", {})).challenge }
    const ids = Object.keys(hosts)
    for (const [id, secret] of Object.entries(hosts)) await request(id, secret)
    for (const id of ids) await isKept(id)
    const first = ids.map(serial)

    // It looks at what it keeps when it starts, then every half hour.
    await daemon.stop()
    await start("+1h")
    const versions = async (id: string): Promise<string[]> => {
      const { data } = await server.get(`/api/v1/certificates?q=${id}.example.com`)
      expect(data).toHaveLength(1)
      expect(data[0]).toMatchObject({ source: "SCEP", status: "Active", common_name: `${id}.example.com` })
      const { data: rows } = await server.get(`/api/v1/certificates/${data[0].id}/versions`)
      return rows.map((version: { serial_number: string }) => version.serial_number).sort()
    }
    for (const [n, id] of ids.entries()) {
      await until(`${id} has renewed`, async () => (await versions(id)).length === 2, waitMs, 100)
      await isKept(id)
      expect(serial(id)).not.toBe(first[n])
      expect(await versions(id)).toEqual([first[n] ?? "", serial(id)].sort())
    }

    await request("stranger", "a guess")
    await until("it is refused", async () => (await state("stranger")) === "CA_REJECTED", waitMs, 100)
    expect(await get("list", "-i", "stranger")).toContain("not permitted")
    expect(existsSync(at("stranger.pem"))).toBe(false)
    expect((await server.get("/api/v1/certificates")).total).toBe(2)
  })
})
