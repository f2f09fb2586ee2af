/**
 * IIS and WinCertStore against a Windows host that is a fake, reached both ways: as powershell.exe on the search path and through
 * WinRM. The scripts are really parsed and run, and the PFX is really read.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { testAuthority, testLeaf } from "../../../agent/agent-server.fake"
import type { Authority } from "../../pki/authority"
import { type Deploying, deploying } from "../../testing/deploying"
import { peer } from "../../testing/peers"
import { type FakeWindows, fakeWindows, installPowerShell, type StoredBinding } from "../powershell.fake"
import { programStarter } from "../program"
import { type FakeWinRm, type FakeWinRmOptions, startFakeWinRm } from "../winrm.fake"
import type { TargetDefinition } from "./contract"
import { iis } from "./iis"
import { winCertStore } from "./win-cert-store"
import { thumbprintOf } from "./windows-host"

setDefaultTimeout(60_000)

const openssl = peer("openssl", "openssl")
const username = "FAKE\\administrator"
const password = "Pässwörd <&> \"'"
const keys = ["IIS", "WinCertStore"] as const
const modes = ["local", "winrm"] as const

let authority: Authority
let tlsLeaf: Awaited<ReturnType<typeof testLeaf>>
beforeAll(async () => {
  authority = await testAuthority()
  tlsLeaf = await testLeaf(authority, ["127.0.0.1"])
})

interface World {
  readonly folder: string
  readonly windows: FakeWindows
  readonly winRm: FakeWinRm
  readonly agent: Deploying
}

let world: World
const openWorld = async (options: Partial<FakeWinRmOptions> = {}): Promise<World> => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-windows-"))
  const windows = fakeWindows(join(folder, "windows"))
  const path = `${installPowerShell(windows.folder)}:${process.env.PATH}`
  return {
    folder,
    windows,
    winRm: await startFakeWinRm({ windows, username, password, ...options }),
    agent: deploying(join(folder, "agent"), { start: programStarter({ path }) }),
  }
}
const closeWorld = ({ winRm, folder }: World) => {
  winRm.stop()
  rmSync(folder, { recursive: true })
}

const winRmKeys = (extra: Record<string, unknown> = {}) => ({
  winrm_host: "127.0.0.1",
  winrm_port: world.winRm.port,
  winrm_username: username,
  winrm_password: password,
  winrm_timeout: 20,
  ...extra,
})

const connectors: Record<(typeof keys)[number], TargetDefinition> = { IIS: iis, WinCertStore: winCertStore }
const config = (
  type: (typeof keys)[number],
  mode: (typeof modes)[number],
  extra: Record<string, unknown> = {},
  winrm: Record<string, unknown> = {},
): Record<string, unknown> =>
  type === "IIS"
    ? {
        site_name: "Default Web Site",
        cert_store: "WebHosting",
        mode,
        ...(mode === "winrm" ? { winrm: winRmKeys(winrm) } : {}),
        ...extra,
      }
    : { store_name: "WebHosting", mode, ...(mode === "winrm" ? winRmKeys(winrm) : {}), ...extra }

const newLeaf = (hours?: number) => testLeaf(authority, ["site.example"], hours)
const stored = () => world.windows.state().stores["LocalMachine\\WebHosting"] ?? []
const thumbprints = () => stored().map(({ thumbprint }) => thumbprint)
const bindings = () => world.windows.state().sites[0]?.bindings ?? []
const bound = () =>
  bindings().map(({ bindingInformation, sslFlags, certificateHash }) => [bindingInformation, sslFlags, certificateHash])
const addBinding = (binding: Partial<StoredBinding>) =>
  world.windows.change(({ sites }) => {
    sites[0]?.bindings.push({
      protocol: "https",
      bindingInformation: "*:443:",
      sslFlags: 0,
      certificateHash: "",
      certificateStoreName: "",
      ...binding,
    })
  })
const failing = (call: string, times = 1, kills = false) =>
  world.windows.change(({ faults }) => {
    faults.push({ call, times, message: `${call} says no`, kills })
  })
const changes = () => world.windows.state().changes

for (const mode of modes) {
  for (const type of keys) {
    describe.skipIf(openssl === null)(`${type}, mode ${mode}`, () => {
      beforeEach(async () => {
        world = await openWorld()
      })
      afterEach(() => {
        expect(world.windows.temporaryFiles()).toEqual([])
        expect(world.winRm.openShells()).toBe(0)
        closeWorld(world)
      })
      const deploy = (leaf: Awaited<ReturnType<typeof newLeaf>>, extra: Record<string, unknown> = {}) =>
        world.agent.deploy(connectors[type], config(type, mode, extra), leaf, authority.certPem)

      test("imports certificate and key, finds them there the next time, and takes a new one", async () => {
        const [first, second] = [await newLeaf(), await newLeaf()]
        expect((await deploy(first)).isIdempotent).toBe(false)
        expect(stored()).toMatchObject([
          {
            thumbprint: thumbprintOf(first.certPem),
            hasPrivateKey: true,
            isExportable: type === "WinCertStore",
            pfxScheme: "modern",
          },
        ])
        if (type === "IIS") expect(bound()).toEqual([["*:443:", 0, thumbprintOf(first.certPem)]])
        const before = changes()
        expect((await deploy(first)).isIdempotent).toBe(true)
        expect(changes()).toEqual(before)
        expect((await deploy(second)).isIdempotent).toBe(false)
        expect(thumbprints()).toEqual([first, second].map(({ certPem }) => thumbprintOf(certPem)))
        if (type === "IIS") expect(bound()).toEqual([["*:443:", 0, thumbprintOf(second.certPem)]])
      })

      test("says in Windows' words why the import failed, and nothing has changed", async () => {
        const first = await newLeaf()
        await deploy(first)
        const before = world.windows.state()
        failing("Import-PfxCertificate")
        const second = await newLeaf()
        await expect(deploy(second)).rejects.toThrow(
          /importing the certificate failed: Import-PfxCertificate says no \(rolled_back: /,
        )
        expect(world.windows.state().stores).toEqual(before.stores)
        expect(world.windows.state().sites).toEqual(before.sites)
        await deploy(second)
      })

      test("takes out what it imported when the proof on the wire fails", async () => {
        const first = await newLeaf()
        await deploy(first)
        const server = Bun.serve({
          port: 0,
          hostname: "127.0.0.1",
          tls: { cert: tlsLeaf.certPem, key: tlsLeaf.keyPem },
          fetch: () => new Response(),
        })
        try {
          const extra = { verify_host: "127.0.0.1", verify_port: server.port, post_deploy_verify_attempts: 1 }
          await expect(deploy(await newLeaf(), extra)).rejects.toThrow("the proof on the wire failed")
        } finally {
          server.stop(true)
        }
        expect(thumbprints()).toEqual([thumbprintOf(first.certPem)])
        if (type === "IIS") expect(bound()).toEqual([["*:443:", 0, thumbprintOf(first.certPem)]])
      })

      test("mends what a run that was killed left behind", async () => {
        const leaf = await newLeaf()
        failing(type === "IIS" ? "AddSslCertificate" : "FriendlyName", 1, true)
        const extra = type === "IIS" ? {} : { friendly_name: "web" }
        await expect(deploy(leaf, extra)).rejects.toThrow(/failed/)
        await deploy(leaf, extra)
        expect(thumbprints()).toEqual([thumbprintOf(leaf.certPem)])
        if (type === "IIS") expect(bound()).toEqual([["*:443:", 0, thumbprintOf(leaf.certPem)]])
        const left = join(world.windows.folder, "temp", "certctl-0.pfx")
        writeFileSync(left, "encrypted")
        utimesSync(left, new Date(0), new Date(0))
        await deploy(await newLeaf(), extra)
      })

      // A process for every look is slow, and the rest does not depend on the way.
      if (mode === "local") return

      test("encrypts as old Windows reads it", async () => {
        world.windows.change((state) => {
          state.readsLegacyPfxOnly = true
        })
        await expect(deploy(await newLeaf())).rejects.toThrow("The specified network password is not correct")
        await deploy(await newLeaf(), { pfx_legacy: true })
        expect(stored()).toMatchObject([{ pfxScheme: "legacy" }])
      })

      test("leaves no secret in what it says", async () => {
        failing("Import-PfxCertificate")
        const leaf = await newLeaf()
        const problem = await deploy(leaf).then(
          () => "",
          (error) => String(error),
        )
        expect(problem).toContain("says no")
        for (const secret of [password, leaf.keyPem.split("\n")[1] ?? ""]) expect(problem).not.toContain(secret)
      })

      test("names a store that is not there before anything changes", async () => {
        const extra = type === "IIS" ? { cert_store: "Missing" } : { store_name: "Missing" }
        await expect(deploy(await newLeaf(), extra)).rejects.toThrow(
          "the certificate store Cert:\\LocalMachine\\Missing does not exist",
        )
        const target = connectors[type].open(config(type, mode, extra), world.agent.deps)
        await expect(target.check?.()).rejects.toThrow("opening the certificate store failed")
        await connectors[type].open(config(type, mode), world.agent.deps).check?.()
        expect(changes()).toEqual([])
      })

      test("two at once end with one of the two whole", async () => {
        const [one, two] = [await newLeaf(), await newLeaf()]
        await Promise.all([deploy(one), deploy(two)])
        expect(thumbprints().toSorted()).toEqual([one, two].map(({ certPem }) => thumbprintOf(certPem)).toSorted())
        if (type === "IIS") expect(bound()).toEqual([["*:443:", 0, thumbprints().at(-1) ?? ""]])
      })

      test("hands over whatever is in the keys as data", async () => {
        // Names are refused before this, by the table below; host headers and thumbprints have patterns of their own.
        const name = "It.s - a_Site"
        if (type === "IIS") {
          world.windows.change(({ sites }) => {
            sites[0] = { name, bindings: [] }
          })
          await deploy(await newLeaf(), { site_name: name })
          expect(bindings()).toHaveLength(1)
        } else {
          await deploy(await newLeaf(), { friendly_name: name })
          expect(stored()[0]?.friendlyName).toBe(name)
        }
      })
    })
  }
}

// Both ways lead to the same host: what happens there is asked on the one that starts no process.
describe.skipIf(openssl === null)("IIS bindings", () => {
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(() => closeWorld(world))
  const deploy = (leaf: Awaited<ReturnType<typeof newLeaf>>, extra: Record<string, unknown> = {}) =>
    world.agent.deploy(iis, config("IIS", "winrm", extra), leaf, authority.certPem)

  test("with SNI only the one with the same host header is touched", async () => {
    addBinding({ bindingInformation: "*:443:other.example", sslFlags: 1 })
    addBinding({ bindingInformation: "*:443:" })
    addBinding({ bindingInformation: "*:8443:site.example", sslFlags: 1 })
    addBinding({ bindingInformation: "*:80:site.example", protocol: "http" })
    const others = bound()
    const sni = { sni: true, binding_info: "*:443:site.example" }
    const leaf = await newLeaf()
    await deploy(leaf, sni)
    expect(bound()).toEqual([...others, ["*:443:site.example", 1, thumbprintOf(leaf.certPem)]])
    const next = await newLeaf()
    await deploy(next, sni)
    expect(bound()).toEqual([...others, ["*:443:site.example", 1, thumbprintOf(next.certPem)]])
    expect(changes().filter((one) => one === "New-WebBinding")).toHaveLength(1)
  })

  test("without SNI those of the port that answer without SNI are replaced, whatever their address was", async () => {
    addBinding({ bindingInformation: "10.0.0.7:443:" })
    addBinding({ bindingInformation: "[::1]:8443:" })
    addBinding({ bindingInformation: "*:443:other.example", sslFlags: 1 })
    const leaf = await newLeaf()
    await deploy(leaf)
    expect(bound()).toEqual([
      ["[::1]:8443:", 0, ""],
      ["*:443:other.example", 1, ""],
      ["*:443:", 0, thumbprintOf(leaf.certPem)],
    ])
  })

  test("an address of its own leaves other addresses alone", async () => {
    addBinding({ bindingInformation: "10.0.0.7:443:" })
    const leaf = await newLeaf()
    await deploy(leaf, { ip_address: "10.0.0.8", port: 443 })
    expect(bound()).toEqual([
      ["10.0.0.7:443:", 0, ""],
      ["10.0.0.8:443:", 0, thumbprintOf(leaf.certPem)],
    ])
  })

  test("come back when binding fails, and the new certificate goes", async () => {
    const first = await newLeaf()
    await deploy(first, { ip_address: "10.0.0.7" })
    failing("New-WebBinding")
    await expect(deploy(await newLeaf())).rejects.toThrow(
      /the IIS deployment failed: binding the certificate failed: New-WebBinding says no \(rolled_back: /,
    )
    expect(bound()).toEqual([["10.0.0.7:443:", 0, thumbprintOf(first.certPem)]])
    expect(thumbprints()).toEqual([thumbprintOf(first.certPem)])
  })

  test("take a certificate that http.sys only gives room for once the old one is gone", async () => {
    await deploy(await newLeaf())
    failing("AddSslCertificate")
    const leaf = await newLeaf()
    await deploy(leaf)
    expect(bound()).toEqual([["*:443:", 0, thumbprintOf(leaf.certPem)]])
    expect(changes()).toContain("RemoveSslCertificate")
  })

  test("say that somebody has to look when going back fails too", async () => {
    await deploy(await newLeaf())
    failing("AddSslCertificate", 4)
    await expect(deploy(await newLeaf())).rejects.toThrow(
      /AddSslCertificate says no.* \(manual_action_required: going back failed too: .*AddSslCertificate says no.*rollback failed, somebody has to look/s,
    )
  })

  test("keep a certificate that was in the store before", async () => {
    const leaf = await newLeaf()
    await world.agent.deploy(winCertStore, config("WinCertStore", "winrm"), leaf, authority.certPem)
    failing("New-WebBinding")
    await expect(deploy(leaf)).rejects.toThrow("rolled_back")
    expect(thumbprints()).toEqual([thumbprintOf(leaf.certPem)])
  })

  test("need a site and the module that knows of sites", async () => {
    await expect(deploy(await newLeaf(), { site_name: "Other" })).rejects.toThrow("the site Other does not exist")
    world.windows.change((state) => {
      state.hasWebAdministration = false
    })
    const target = iis.open(config("IIS", "winrm"), world.agent.deps)
    await expect(target.check?.()).rejects.toThrow("'WebAdministration' was not loaded")
    expect(changes()).toEqual([])
  })

  test("with an expired certificate are not taken for good", async () => {
    const leaf = await newLeaf()
    await deploy(leaf)
    world.windows.change(({ stores }) => {
      for (const one of stores["LocalMachine\\WebHosting"] ?? []) one.notAfter = new Date(0).toISOString()
    })
    expect((await deploy(leaf)).isIdempotent).toBe(false)
  })
})

describe.skipIf(openssl === null)("WinCertStore, its own keys", () => {
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(() => closeWorld(world))
  const deploy = (leaf: Awaited<ReturnType<typeof newLeaf>>, extra: Record<string, unknown> = {}) =>
    world.agent.deploy(winCertStore, config("WinCertStore", "winrm", extra), leaf, authority.certPem)

  test("gives the friendly name, also to a certificate that was there without it", async () => {
    const leaf = await newLeaf()
    await deploy(leaf)
    expect((await deploy(leaf, { friendly_name: "web 1" })).isIdempotent).toBe(false)
    expect(stored()[0]?.friendlyName).toBe("web 1")
    expect((await deploy(leaf, { friendly_name: "web 1" })).isIdempotent).toBe(true)
  })

  test("takes the new certificate out again when it cannot be named", async () => {
    failing("FriendlyName")
    await expect(deploy(await newLeaf(), { friendly_name: "web" })).rejects.toThrow(
      /naming the certificate failed: .*FriendlyName says no.*rolled_back/,
    )
    expect(stored()).toEqual([])
  })

  test("removes expired certificates of the same subject, and those only, once the new one is in place", async () => {
    const [old, valid] = [await newLeaf(), await newLeaf()]
    const other = await testLeaf(authority, ["other.example"])
    for (const one of [old, other, valid]) await deploy(one)
    world.windows.change(({ stores }) => {
      for (const one of stores["LocalMachine\\WebHosting"]?.slice(0, 2) ?? []) one.notAfter = new Date(0).toISOString()
    })
    const fresh = await newLeaf()
    await deploy(fresh, { remove_expired: true })
    expect(thumbprints()).toEqual([other, valid, fresh].map(({ certPem }) => thumbprintOf(certPem)))
  })

  test("is not undone by an expired certificate that cannot be removed", async () => {
    await deploy(await newLeaf())
    world.windows.change(({ stores }) => {
      for (const one of stores["LocalMachine\\WebHosting"] ?? []) one.notAfter = new Date(0).toISOString()
    })
    failing("Remove-Item")
    await deploy(await newLeaf(), { remove_expired: true })
    expect(stored()).toHaveLength(2)
    expect(world.agent.warnings.join()).toContain("removing expired certificates failed: Remove-Item says no")
  })

  test("imports for one user", async () => {
    const leaf = await newLeaf()
    await deploy(leaf, { store_location: "CurrentUser", store_name: "My" })
    expect(world.windows.state().stores["CurrentUser\\My"]).toHaveLength(1)
    expect(stored()).toEqual([])
  })
})

describe.skipIf(openssl === null)("WinRM", () => {
  afterEach(() => closeWorld(world))
  const check = (winrm: Record<string, unknown> = {}, extra: Record<string, unknown> = {}) =>
    winCertStore.open(config("WinCertStore", "winrm", extra, winrm), world.agent.deps).check?.()
  const deploy = async (winrm: Record<string, unknown> = {}) =>
    world.agent.deploy(winCertStore, config("WinCertStore", "winrm", {}, winrm), await newLeaf(), authority.certPem)

  test("over HTTP seals every message: neither password nor PFX is to be read on the wire", async () => {
    world = await openWorld()
    await deploy()
    const wire = Buffer.concat(world.winRm.wire).toString("latin1")
    expect(wire).toContain("application/HTTP-SPNEGO-session-encrypted")
    for (const word of ["Envelope", "EncodedCommand", "pfx_password", password]) expect(wire).not.toContain(word)
    expect(world.winRm.actions.slice(0, 6)).toEqual(["Create", "Command", "Send", "Receive", "Signal", "Delete"])
  })

  test("over HTTP with Basic only is refused without sending the password", async () => {
    world = await openWorld({ offers: ["Basic"] })
    await expect(check()).rejects.toThrow("offers Basic only, which over HTTP would send the password")
    expect(Buffer.concat(world.winRm.wire).toString()).not.toContain("Basic")
  })

  for (const offers of [["Basic"], ["Negotiate", "Basic"]] as const) {
    test(`over HTTPS logs in by ${offers[0]}, checks the certificate unless told not to, and warns then`, async () => {
      world = await openWorld({ offers, tls: tlsLeaf })
      await expect(check({ winrm_https: true })).rejects.toThrow(/certificate|self.signed|issuer/i)
      expect(world.winRm.wire).toEqual([])
      await deploy({ winrm_https: true, winrm_insecure: true })
      expect(stored()).toHaveLength(1)
      expect(world.agent.warnings.join()).toContain("winrm_insecure")
      const authorizations =
        Buffer.concat(world.winRm.wire)
          .toString()
          .match(/"authorization":"(\w+)/g) ?? []
      expect(new Set(authorizations)).toEqual(new Set([`"authorization":"${offers[0]}`]))
    })
  }

  test("over HTTPS accepts a certificate whose CA the agent trusts", async () => {
    world = await openWorld({ tls: tlsLeaf })
    writeFileSync(join(world.folder, "ca.pem"), authority.certPem)
    const script = `
      const { winCertStore } = await import(${JSON.stringify(join(import.meta.dir, "win-cert-store.ts"))})
      const { testTargetDeps } = await import(${JSON.stringify(join(import.meta.dir, "../../testing/deploying.ts"))})
      await winCertStore.open(JSON.parse(await Bun.stdin.text()), testTargetDeps("/nonexistent")).check()
      console.log("reached")`
    const child = Bun.spawn([process.execPath, "-e", script], {
      stdin: Buffer.from(JSON.stringify(config("WinCertStore", "winrm", {}, { winrm_https: true }))),
      env: { ...process.env, NODE_EXTRA_CA_CERTS: join(world.folder, "ca.pem") },
      stderr: "pipe",
    })
    expect([await new Response(child.stdout).text(), await new Response(child.stderr).text()]).toEqual([
      "reached\n",
      "",
    ])
  })

  for (const tls of [false, true]) {
    test(`with a wrong password is told so, ${tls ? "HTTPS" : "HTTP"}`, async () => {
      world = await openWorld(tls ? { tls: tlsLeaf, offers: ["Basic"] } : {})
      const way = tls ? { winrm_https: true, winrm_insecure: true } : {}
      await expect(check({ ...way, winrm_password: "wrong" })).rejects.toThrow("the login was refused")
      await expect(check({ ...way, winrm_username: "somebody" })).rejects.toThrow("the login was refused")
      expect(world.winRm.actions).toEqual([])
    })
  }

  test("waits through Receives that time out", async () => {
    world = await openWorld()
    world.winRm.slowReceives = 3
    await check()
    expect(world.winRm.actions.filter((one) => one === "Receive")).toHaveLength(4)
  })

  test("stops a PowerShell that does not end, and leaves no shell", async () => {
    world = await openWorld()
    world.winRm.isHanging = true
    await expect(check({}, { exec_deadline: 1 })).rejects.toThrow("PowerShell did not end within 1 s and was stopped")
    expect(world.winRm.openShells()).toBe(0)
    expect(world.winRm.actions.slice(-2)).toEqual(["Signal", "Delete"])
  })

  test("says what answers in place of WinRM", async () => {
    world = await openWorld()
    world.winRm.broken = { times: 1, status: 503 }
    await expect(check()).rejects.toThrow("it asks for no login (HTTP 503)")
    const other = createServer((_request, response) => response.end("<html>")).listen(0, "127.0.0.1")
    await new Promise((resolve) => other.once("listening", resolve))
    try {
      await expect(check({ winrm_port: (other.address() as AddressInfo).port })).rejects.toThrow(
        /asks for no login|how long/,
      )
    } finally {
      other.close()
    }
    world.winRm.stop()
    await expect(check()).rejects.toThrow(/127\.0\.0\.1:\d+: .*(ECONNREFUSED|connect)/i)
  })

  test("goes back when the connection breaks and nobody knows how far the run came", async () => {
    world = await openWorld()
    const first = await newLeaf()
    const target = config("IIS", "winrm")
    await world.agent.deploy(iis, target, first, authority.certPem)
    const second = await newLeaf()
    const plan = await iis.open(target, world.agent.deps).plan({
      certificateId: "mc",
      jobId: "job",
      certPem: second.certPem,
      chainPem: authority.certPem,
      keyPem: second.keyPem,
    })
    const isInPlace = async () => {
      const found = (await plan.isInPlace?.()) ?? false
      world.winRm.resetsAfterCommands = 1
      return found
    }
    await expect(world.agent.engine.deploy({ ...plan, isInPlace }, second.fingerprint)).rejects.toThrow("closed")
    expect(world.winRm.openShells()).toBe(0)
    expect(bound()).toEqual([["*:443:", 0, thumbprintOf(first.certPem)]])
    expect(thumbprints()).toEqual([thumbprintOf(first.certPem)])
  })
})
