/** certbot and lego, as people run them, against the compiled server: what they get, renew and revoke. */
import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { acmeClient, signJws } from "../testing/acme-client"
import { startDnsServer } from "../testing/dns-server"
import { onEachDatabase, type Scene } from "../testing/on-each-database"
import { peer } from "../testing/peers"
import { type ServerProcess, serverProcess } from "../testing/server-process"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(180_000)

const certbot = peer("certbot", "certbot")
const lego = peer("lego", "lego")
const openssl = peer("openssl", "openssl")

const startServer = async ({ stage, env }: Scene, more: Record<string, string> = {}) => {
  const server = await serverProcess(stage, {
    linksHere: true,
    env: {
      ...env,
      CERTCTL_ACME_SERVER_ENABLED: "true",
      CERTCTL_ACME_SERVER_DEFAULT_PROFILE_ID: "prof-web",
      ...more,
    },
  })
  await server.start()
  await server.post("/api/v1/profiles", { id: "prof-web", name: "web", max_ttl_seconds: 7_776_000 })
  return server
}

/** A program that has to end well; resolves with everything it wrote. */
const ran = async (argv: string[], env: Record<string, string>, expected = 0): Promise<string> => {
  const child = Bun.spawn(argv, { env: { PATH: process.env.PATH ?? "", ...env }, stdio: ["ignore", "pipe", "pipe"] })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  const code = await child.exited
  if (code !== expected) throw new Error(`${argv.join(" ")} ended with ${code}:\n${out}\n${err}`)
  return out + err
}

const readChain = (path: string) => {
  const pem = readFileSync(path, "utf8")
  return { pem, leaf: new X509Certificate(pem) }
}

const verifies = (stage: Scene["stage"], pem: string): string => {
  const [leaf, ...chain] = pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----\n?/g) ?? []
  const [leafPath, caPath] = [stage.at("leaf.pem"), stage.at("ca.pem")]
  writeFileSync(leafPath, leaf ?? "")
  writeFileSync(caPath, chain.join("\n"))
  const { stdout, stderr } = Bun.spawnSync([openssl ?? "", "verify", "-x509_strict", "-CAfile", caPath, leafPath])
  return (stdout.toString() + stderr.toString()).trim().replace(`${leafPath}: `, "")
}

const certbotOn = (stage: Scene["stage"], server: ServerProcess, directory: string) => {
  const folder = stage.at("certbot")
  mkdirSync(folder, { recursive: true })
  const folders = ["--config-dir", join(folder, "c"), "--work-dir", join(folder, "w"), "--logs-dir", join(folder, "l")]
  const env = { HOME: folder, REQUESTS_CA_BUNDLE: join(server.dataDir, "tls/ca.pem") }
  const account = ["--server", `${server.url}${directory}`, "--agree-tos", "-m", "admin@example.com", "--no-eff-email"]
  return {
    run: (...args: string[]) => ran([certbot ?? "", ...args, "-n", ...folders], env),
    certonly: (...args: string[]) => ran([certbot ?? "", "certonly", "-n", ...account, ...folders, ...args], env),
    live: (name: string) => join(folder, "c/live", name, "fullchain.pem"),
    register: () => ran([certbot ?? "", "register", "-n", ...account, ...folders], env),
  }
}

const legoOn = (stage: Scene["stage"], server: ServerProcess, directory: string, env: Record<string, string> = {}) => {
  const folder = stage.at("lego")
  const trust = { HOME: stage.folder, LEGO_CA_CERTIFICATES: join(server.dataDir, "tls/ca.pem"), ...env }
  const common = [
    "--server",
    `${server.url}${directory}`,
    "--accept-tos",
    "--email",
    "admin@example.com",
    "--path",
    folder,
  ]
  return {
    run: (args: string[], ...command: string[]) => ran([lego ?? "", ...common, ...args, ...command], trust),
    chain: (name: string) => join(folder, "certificates", `${name}.crt`),
  }
}

const certificatesOf = async (server: ServerProcess) =>
  (await server.get("/api/v1/certificates?per_page=100")).data as {
    id: string
    common_name: string
    status: string
    source: string
  }[]

describe.skipIf(certbot === null || lego === null || openssl === null)("ACME clients", () => {
  onEachDatabase("of other people", (open) => {
    test("certbot gets a certificate, renews and revokes it, changes its account and ends it", async () => {
      const scene = await open()
      const server = await startServer(scene)
      const client = certbotOn(scene.stage, server, "/acme/profile/prof-web/directory")
      const names = ["-d", "www.example.com", "-d", "*.example.com"]
      expect(await client.certonly("--standalone", ...names)).toContain("Successfully received certificate")
      const first = readChain(client.live("www.example.com"))
      expect(first.leaf.subjectAltName).toBe("DNS:www.example.com, DNS:*.example.com")
      expect(verifies(scene.stage, first.pem)).toBe("OK")

      await client.run("renew", "--force-renewal", "--no-random-sleep-on-renew")
      const second = readChain(client.live("www.example.com"))
      expect(second.leaf.serialNumber).not.toBe(first.leaf.serialNumber)
      const [certificate, ...others] = await certificatesOf(server)
      expect([certificate?.common_name, certificate?.source, certificate?.status, others]).toEqual([
        "www.example.com",
        "ACME",
        "Active",
        [],
      ])
      expect((await server.get(`/api/v1/certificates/${certificate?.id}/versions`)).total).toBe(2)

      const revoked = await client.run(
        ...["revoke", "--server", `${server.url}/acme/profile/prof-web/directory`],
        ...["--cert-name", "www.example.com", "--reason", "superseded", "--no-delete-after-revoke"],
      )
      expect(revoked).toContain("successfully revoked")
      expect((await certificatesOf(server))[0]?.status).toBe("Revoked")
      const issuerUrl = `/.well-known/pki/ocsp/iss-local/${second.leaf.serialNumber.toLowerCase()}`
      expect((await server.call("GET", issuerUrl, undefined, { key: null })).status).toBe(200)

      const at = ["--server", `${server.url}/acme/profile/prof-web/directory`]
      await client.run("update_account", ...at, "-m", "other@example.com", "--no-eff-email")
      const { data } = await server.get("/api/v1/admin/acme/accounts")
      expect(data[0].contact).toEqual(["mailto:other@example.com"])
      await client.run("unregister", ...at)
      expect((await server.get("/api/v1/admin/acme/accounts")).data[0].status).toBe("deactivated")
      expect(server.log()).not.toContain("@example.com")
    })

    test("lego gets a certificate with an external account's key, renews and revokes it", async () => {
      const scene = await open()
      const server = await startServer(scene, { CERTCTL_ACME_SERVER_EAB_REQUIRED: "true" })
      const { id, hmac_key } = await server.post("/api/v1/admin/acme/external-accounts", { profile_id: "prof-web" })
      const client = legoOn(scene.stage, server, "/acme/directory")
      const names = ["-d", "a.example.com", "-d", "b.example.com", "--http"]
      expect(await client.run(names, "run").then(String, String)).toContain("External Account Binding")
      const binding = ["--eab", "--kid", id, "--hmac", hmac_key]
      await client.run([...binding, ...names], "run")
      const first = readChain(client.chain("a.example.com"))
      expect(first.leaf.subjectAltName).toBe("DNS:a.example.com, DNS:b.example.com")
      expect(verifies(scene.stage, first.pem)).toBe("OK")
      await client.run([...binding, ...names], "renew", "--days", "365", "--no-random-sleep")
      const second = readChain(client.chain("a.example.com"))
      expect(second.leaf.serialNumber).not.toBe(first.leaf.serialNumber)
      await client.run([...binding, "-d", "a.example.com", "--http"], "revoke", "--keep")
      expect((await certificatesOf(server)).map(({ status }) => status)).toEqual(["Revoked"])
      const { text } = await server.call("GET", "/api/v1/metrics/prometheus")
      expect(text).toContain('certctl_acme_revoke_cert_total{result="success"} 1\n')
      for (const place of [server.log(), JSON.stringify(await server.get("/api/v1/audit?per_page=500"))]) {
        expect(place.includes(hmac_key)).toBe(false)
      }
    })

    test("both prove a wildcard in DNS, where names have to be proven", async () => {
      const scene = await open()
      const { stage } = scene
      // What their hooks write, one `name value` a line.
      const zone = stage.at("zone.txt")
      writeFileSync(zone, "")
      const dns = await startDnsServer((name) => {
        const lines = readFileSync(zone, "utf8")
          .split("\n")
          .map((line) => line.split(" "))
        const texts = lines.filter(([owner]) => owner?.replace(/\.$/, "") === name).map(([, text = ""]) => text)
        return texts.length === 0 ? undefined : texts
      })
      stage.onEnd(dns.close)
      const server = await startServer(scene, {
        CERTCTL_ACME_SERVER_DEFAULT_AUTH_MODE: "challenge",
        CERTCTL_ACME_SERVER_DNS01_RESOLVER: dns.address,
      })
      const hook = stage.at("certbot-hook.sh")
      writeFileSync(hook, `#!/bin/sh\necho "_acme-challenge.$CERTBOT_DOMAIN $CERTBOT_VALIDATION" >>${zone}\n`, {
        mode: 0o755,
      })
      const bot = certbotOn(stage, server, "/acme/profile/prof-web/directory")
      const manual = ["--manual", "--preferred-challenges", "dns", "--manual-auth-hook", hook]
      await bot.certonly(...manual, "-d", "example.com", "-d", "*.example.com")
      expect(readChain(bot.live("example.com")).leaf.subjectAltName).toBe("DNS:example.com, DNS:*.example.com")

      const script = stage.at("lego-hook.sh")
      writeFileSync(script, `#!/bin/sh\n[ "$1" = present ] && echo "$2 $3" >>${zone}\nexit 0\n`, { mode: 0o755 })
      const go = legoOn(stage, server, "/acme/directory", { EXEC_PATH: script })
      const solver = ["--dns", "exec", "--dns.disable-cp", "--dns.resolvers", dns.address]
      await go.run([...solver, "-d", "*.example.net"], "run")
      expect(readChain(go.chain("_.example.net")).leaf.subjectAltName).toBe("DNS:*.example.net")

      // Without the records, nothing.
      writeFileSync(zone, "")
      writeFileSync(script, "#!/bin/sh\nexit 0\n", { mode: 0o755 })
      const refused = await go.run([...solver, "-d", "evil.example.net"], "run").then(String, String)
      expect(refused).toContain("urn:ietf:params:acme:error:dns")
      expect(existsSync(go.chain("evil.example.net"))).toBe(false)
      const names = (await certificatesOf(server)).map(({ common_name }) => common_name).sort()
      expect(names).toEqual(["*.example.net", "example.com"])
    })

    test("requests that are not as they should be get the documented problems", async () => {
      const scene = await open()
      const server = await startServer(scene)
      const tls = { ca: server.caPem }
      const client = acmeClient(
        (url, init) => fetch(url, { ...init, tls } as RequestInit),
        `${server.url}/acme/directory`,
      )
      expect((await client.register()).status).toBe(201)
      const url = `${client.base}/new-order`
      const payload = { identifiers: [{ type: "dns", value: "a.example.com" }] }
      const signed = async (extra: object = {}) =>
        signJws(client.key, { nonce: await client.freshNonce(), url, kid: client.account, ...extra }, payload)
      const told = async (body: object) => {
        const answer = await client.send(url, body)
        expect(answer.headers.get("content-type")).toBe("application/problem+json")
        expect(answer.headers.get("replay-nonce")).toBeString()
        return String(answer.body.type).replace("urn:ietf:params:acme:error:", "")
      }
      const used = await signed()
      expect((await client.send(url, used)).status).toBe(201)
      expect(await told(used)).toBe("badNonce")
      expect(await told(await signed({ nonce: "AAAA" }))).toBe("badNonce")
      expect(await told({ ...(await signed()), signature: used.signature })).toBe("malformed")
      expect(await told(await signed({ url: `${url}?again` }))).toBe("unauthorized")
      expect(await told(await signed({ kid: `${client.base}/account/acme-acc-nobody` }))).toBe("accountDoesNotExist")
      expect((await client.post(client.account, { status: "deactivated" })).status).toBe(200)
      expect(await told(await signed())).toBe("unauthorized")
    })
  })
})
