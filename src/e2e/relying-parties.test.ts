/** Who relies on certificates of the local CA learns of a revocation: OpenSSL, GnuTLS, and NGINX for its clients and for itself. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { createRootAuthority, openAuthority } from "../pki/authority"
import { generateKey, privateKeyPem, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { toPem } from "../pki/pem"
import { type Enrolled, estEnrol, estEnvironment } from "../testing/est-client"
import { freePort } from "../testing/free-port"
import { runNginx } from "../testing/nginx-peer"
import { peer } from "../testing/peers"
import { runner } from "../testing/runner"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { openStage, type Stage } from "../testing/stage"
import { until } from "../testing/until"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)
const waitMs = 60_000

const openssl = peer("openssl", "openssl") ?? ""
const curl = peer("curl", "curl") ?? ""
const ocsptool = peer("ocsptool", "gnutls-bin") ?? ""
const nginx = peer("nginx", "nginx-light") ?? ""
const has = (...programs: string[]): boolean => programs.every((program) => program !== "")

let stage: Stage | undefined
afterEach(() => stage?.end())

const openWorld = async () => {
  const here = openStage()
  stage = here
  const pkiPort = await freePort()
  const pkiUrl = `http://127.0.0.1:${pkiPort}`
  const server = await serverProcess(here, {
    env: { ...estEnvironment, CERTCTL_PKI_HTTP_PORT: String(pkiPort), CERTCTL_PKI_URL: pkiUrl },
  })
  await server.start()
  const run = runner(here)
  const ca = here.at("ca.pem")
  const issuer = `${pkiUrl}/.well-known/pki/ca/iss-local`
  writeFileSync(ca, await run([openssl, "x509", "-in", await download(run, here, "ca.der", issuer)]))
  const world = { here, server, run, ca, pki: `${pkiUrl}/.well-known/pki`, at: (name: string) => here.at(name) }
  return {
    ...world,
    /** Enrols a device, whose certificate is in `<name>.pem`, with its key in `<name>.key` and the chain in `<name>.chain`. */
    async device(name: string, sans: readonly string[] = [`${name}.example`]): Promise<Enrolled> {
      const made = await estEnrol(server, { commonName: `${name}.example`, sans: [...sans] })
      writeFileSync(here.at(`${name}.pem`), made.leafPem)
      writeFileSync(here.at(`${name}.chain`), made.leafPem + made.chainPem)
      writeFileSync(here.at(`${name}.key`), privateKeyPem(made.privateKey), { mode: 0o600 })
      return made
    },
  }
}

type World = Awaited<ReturnType<typeof openWorld>>

const download = async (run: ReturnType<typeof runner>, here: Stage, name: string, url: string): Promise<string> => {
  await run([curl, "--silent", "--show-error", "--fail", "--output", here.at(name), url])
  return here.at(name)
}

const revoke = async (server: ServerProcess, serial: string): Promise<void> => {
  const { data } = await server.get(`/api/v1/certificates?q=${serial}`)
  expect(data).toHaveLength(1)
  await server.post(`/api/v1/certificates/${data[0].id}/revoke`, { reason: "keyCompromise" })
}

/** A certificate that has the CA's name for its issuer and was never issued by it. */
const strangerPem = async (): Promise<string> => {
  const notBefore = new Date(Date.now() - 86_400_000)
  const notAfter = new Date(Date.now() + 86_400_000)
  const root = await createRootAuthority({ keyType: "ecdsa-p256", commonName: "CertCtl Local CA", notBefore, notAfter })
  const authority = openAuthority({ certPem: root.certPem, chainPem: root.certPem, privateKey: root.privateKey })
  const spkiDer = spkiOf(await generateKey("ecdsa-p256"))
  const sans = [sanOf("stranger.example")]
  const name = { subjectCommonName: "stranger.example", sans, ekus: ["serverAuth"] }
  return toPem("CERTIFICATE", (await authority.sign({ spkiDer, ...name, notBefore, notAfter })).der)
}

describe.skipIf(!has(openssl, curl))("OCSP", () => {
  /** good, revoked or unknown, by a verified answer; else everything that was said. */
  const verdicts = ({ run, at, ca, pki }: World) => {
    const url = `${pki}/ocsp/iss-local`
    const read = (name: string, text: string): string =>
      text.includes("Response verify OK") ? (new RegExp(`${name}\\.pem: (\\w+)`).exec(text)?.[1] ?? text) : text
    const openSsl = (name: string, ...more: string[]): Promise<string> => {
      const question = ["-issuer", ca, "-cert", at(`${name}.pem`), "-CAfile", ca, ...more]
      // What it says of the signature goes to standard error.
      return run(["/bin/sh", "-c", 'exec "$@" 2>&1', "sh", openssl, "ocsp", ...question])
    }
    return {
      post: async (name: string) => {
        const text = await openSsl(name, "-url", url)
        expect(text).not.toContain("no nonce")
        return read(name, text)
      },
      get: async (name: string) => {
        await openSsl(name, "-no_nonce", "-reqout", at("request.der"))
        const request = encodeURIComponent(readFileSync(at("request.der")).toString("base64"))
        await run([curl, "--silent", "--fail", "--output", at("answer.der"), `${url}/${request}`])
        return read(name, await openSsl(name, "-no_nonce", "-respin", at("answer.der")))
      },
      gnutls: async (name: string, ...more: string[]) => {
        const files = ["--load-cert", at(`${name}.pem`), "--load-issuer", ca, "--load-trust", ca]
        const text = await run([ocsptool, `--ask=${url}`, ...files, ...more])
        expect(text).toContain("Verifying OCSP Response: Success.")
        return /Certificate Status: (\w+)/.exec(text)?.[1] ?? text
      },
    }
  }

  const open = async () => {
    const world = await openWorld()
    await world.device("kept")
    const lost = await world.device("lost")
    writeFileSync(world.at("stranger.pem"), await strangerPem())
    return { world, ask: verdicts(world), revokeLost: () => revoke(world.server, lost.serial) }
  }

  test("OpenSSL is told good, revoked and unknown, by POST with a nonce and by GET", async () => {
    const { ask, revokeLost } = await open()
    for (const way of [ask.post, ask.get]) {
      expect([await way("kept"), await way("lost"), await way("stranger")]).toEqual(["good", "good", "unknown"])
    }
    await revokeLost()
    for (const way of [ask.post, ask.get]) {
      await until("the revocation shows", async () => (await way("lost")) === "revoked", waitMs, 200)
      expect([await way("kept"), await way("stranger")]).toEqual(["good", "unknown"])
    }
  })

  test.skipIf(!has(ocsptool))("GnuTLS is told the same, with a nonce and without", async () => {
    const { ask, revokeLost } = await open()
    for (const more of [[], ["--nonce"]]) {
      const all = await Promise.all(["kept", "lost", "stranger"].map((name) => ask.gnutls(name, ...more)))
      expect(all).toEqual(["good", "good", "unknown"])
    }
    await revokeLost()
    for (const more of [[], ["--nonce"]]) {
      await until("the revocation shows", async () => (await ask.gnutls("lost", ...more)) === "revoked", waitMs, 200)
      expect(await ask.gnutls("kept", ...more)).toBe("good")
    }
  })
})

describe.skipIf(!has(openssl, curl, nginx))("NGINX", () => {
  const host = "site.example"

  /** A site with the certificate of the device `site`. */
  const startSite = async ({ here, run, at, ca }: World, settings: string) => {
    const port = await freePort()
    const start = () =>
      runNginx(
        here,
        nginx,
        "nginx",
        `server { listen 127.0.0.1:${port} ssl; server_name ${host};
           ssl_certificate ${at("site.chain")}; ssl_certificate_key ${at("site.key")}; ${settings}
           location / { return 200 "served"; } }`,
      )
    const client = ["--silent", "--show-error", "--cacert", ca, "--connect-to", `${host}:443:127.0.0.1:${port}`]
    const ask = (...more: string[]): Promise<string> =>
      run([curl, ...client, "--write-out", " %{http_code}", ...more, `https://${host}/`])
    const answers = () => until("NGINX answers", () => ask("--retry", "0").then(Boolean, () => false), waitMs, 50)
    let program = start()
    await answers()
    return {
      as: (name: string) => ask("--cert", at(`${name}.pem`), "--key", at(`${name}.key`)),
      /** What a handshake staples. */
      stapled: (): Promise<string> => {
        const address = ["-connect", `127.0.0.1:${port}`, "-servername", host]
        return run([openssl, "s_client", ...address, "-CAfile", ca, "-verify_return_error", "-status"])
      },
      reload: () => run([nginx, "-s", "reload", "-p", at("nginx"), "-c", at("nginx/nginx.conf")]),
      stop: () => program.stop(),
      async restart() {
        await program.stop()
        program = start()
        await answers()
      },
      errors: () => readFileSync(at("nginx/error.log"), "utf8"),
    }
  }

  test("refuses a client whose certificate is on the list that it was given, and serves others", async () => {
    const world = await openWorld()
    const { here, run, at, ca, pki } = world
    await world.device("site", [host])
    await world.device("kept")
    const first = await world.device("first")
    const second = await world.device("second")
    const fetchList = async (serial: string) => {
      await until(
        "the revocation is on the list",
        async () => {
          const der = await download(run, here, "list.der", `${pki}/crl/iss-local`)
          const list = await run([openssl, "crl", "-inform", "DER", "-in", der, "-text", "-out", at("list.pem")])
          return `${list}${readFileSync(at("list.pem"), "utf8")}`.includes(serial.toUpperCase())
        },
        waitMs,
        100,
      )
    }
    await revoke(world.server, first.serial)
    await fetchList(first.serial)
    const site = await startSite(
      world,
      `ssl_client_certificate ${ca}; ssl_verify_client on; ssl_crl ${at("list.pem")};`,
    )
    expect(await site.as("kept")).toBe("served 200")
    expect(await site.as("second")).toBe("served 200")
    const refused = await site.as("first")
    expect(refused).toContain("The SSL certificate error")
    expect(refused).toEndWith(" 400")

    await revoke(world.server, second.serial)
    await fetchList(second.serial)
    await site.reload()
    // A worker of before may take a last connection.
    await until("the second is refused", async () => (await site.as("second")).endsWith(" 400"), waitMs, 50)
    expect(await site.as("first")).toEndWith(" 400")
    expect(await site.as("kept")).toBe("served 200")
  })

  test("staples the answer about its own certificate, and none that says revoked unless it is made to", async () => {
    const world = await openWorld()
    const { run, at, ca, pki, server } = world
    const { serial } = await world.device("site", [host])
    const staple = `ssl_stapling on; ssl_trusted_certificate ${ca};`
    // Asks the address in the certificate, and verifies the answer.
    const site = await startSite(world, `${staple} ssl_stapling_verify on;`)
    let good = ""
    await until(
      "NGINX has an answer to staple",
      async () => {
        good = await site.stapled()
        return !good.includes("OCSP response: no response sent")
      },
      waitMs,
      50,
    )
    expect(good).toContain("OCSP Response Status: successful")
    expect(good).toContain("Cert Status: good")
    expect(good).toContain("Verify return code: 0 (ok)")

    await revoke(server, serial)
    const question = ["-issuer", ca, "-cert", at("site.pem"), "-CAfile", ca, "-url", `${pki}/ocsp/iss-local`]
    const saved = ["-no_nonce", "-respout", at("revoked.der")]
    await until(
      "OCSP says revoked",
      async () => (await run([openssl, "ocsp", ...question, ...saved])).includes("site.pem: revoked"),
      waitMs,
      100,
    )
    await site.restart()
    await until(
      "NGINX has learnt of it",
      async () => {
        // A handshake makes it ask.
        expect(await site.stapled()).toContain("OCSP response: no response sent")
        return site.errors().includes('certificate status "revoked" in the OCSP response')
      },
      waitMs,
      50,
    )
    await site.stop()
    const told = await startSite(world, `${staple} ssl_stapling_file ${at("revoked.der")};`)
    expect(await told.stapled()).toContain("Cert Status: revoked")
  })
})
