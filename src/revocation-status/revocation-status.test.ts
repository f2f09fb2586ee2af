import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Hono } from "hono"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { type Authority, createRootAuthority, openAuthority } from "../pki/authority"
import { keyFacts, spkiOf } from "../pki/keys"
import { sanOf } from "../pki/names"
import { openssl } from "../pki/openssl.process"
import { toPem } from "../pki/pem"
import { sharedKey } from "../pki/random.arbitrary"
import { crlRoutes } from "../protocols/crl/crl.routes"
import { ocspRoutes } from "../protocols/ocsp/ocsp.routes"
import { openSealer } from "../secrets/sealing"
import type { ApiEnv } from "../server/operation"
import { rateLimiter } from "../server/rate-limit"
import { adminActor, testApi, viewerActor } from "../testing/api"
import { onEachDialect } from "../testing/on-each-dialect"
import { serviceParts } from "../testing/resource-api"
import { insertCertificate } from "../testing/rows"
import { crlService } from "./crl.service"
import { crlStore } from "./crl.store"
import { type OcspEvent, ocspService } from "./ocsp.service"
import { responderService } from "./responder.service"
import { responderStore } from "./responder.store"
import { revocationStatusStore } from "./revocation.store"
import { revocationFeed } from "./revocation-feed"
import { revocationStatusRoutes } from "./revocation-status.routes"

const sealer = await openSealer({ passphrase: "a passphrase that is only for tests" })
const start = new Date(Math.floor(Date.now() / 1000) * 1000)
const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs

const makeAuthority = async (commonName = "CertCtl Local CA"): Promise<Authority> => {
  const { certPem, privateKey } = await createRootAuthority({
    keyType: "ecdsa-p256",
    commonName,
    notBefore: new Date(start.getTime() - dayMs),
    notAfter: new Date(start.getTime() + 3650 * dayMs),
  })
  return openAuthority({ certPem, chainPem: certPem, privateKey })
}

/** One server's view; two of them on one database stand for two servers. */
const serverOn = (
  db: Db,
  authorities: Authority[],
  { perMinute = 0, mostStored = undefined as number | undefined } = {},
) => {
  const { audit, actionsOn } = serviceParts(db)
  const time = { now: start }
  const clock = { now: () => time.now }
  const revocations = revocationStatusStore(db)
  const feed = revocationFeed({ db, revocations, clock })
  const counted = new Map<OcspEvent, number>()
  const count = (event: OcspEvent) => void counted.set(event, (counted.get(event) ?? 0) + 1)
  const authoritiesOf = async (issuerId: string) => {
    if (issuerId === "iss-elsewhere") return []
    if (issuerId !== "iss-1") throw new AppError("not_found", `issuer ${issuerId} does not exist`)
    return authorities
  }
  const crls = crlService({
    db,
    crls: crlStore(db),
    revocations,
    feed,
    authoritiesOf,
    issuerIds: async () => ["iss-1"],
    clock,
    onIssuerError: (_, error) => {
      throw error
    },
    ...(mostStored === undefined ? {} : { mostStored }),
  })
  const responders = responderService({
    db,
    responders: responderStore(db),
    sealer,
    audit,
    clock,
    settings: { validityMs: 30 * dayMs, rotationGraceMs: 7 * dayMs },
  })
  const ocsp = ocspService({ revocations, responders, feed, authoritiesOf, clock, count })
  const protocols = new Hono<ApiEnv>()
    .route("/", crlRoutes(crls))
    .route("/", ocspRoutes({ ocsp, limiter: rateLimiter(clock), perMinute, count }))
  const api = new Hono<ApiEnv>().route("/admin/crl", revocationStatusRoutes(crls))
  return {
    app: testApi(api, adminActor, { protocols }),
    asViewer: testApi(api, viewerActor, { protocols }),
    crls,
    counted,
    actionsOn,
    time,
    pass: (ms: number) => {
      time.now = new Date(time.now.getTime() + ms)
    },
  }
}

type Server = ReturnType<typeof serverOn>

const issue = async (db: Db, authority: Authority, more: { shortLived?: boolean; notAfter?: Date } = {}) => {
  const notAfter = more.notAfter ?? new Date(start.getTime() + 90 * dayMs)
  const leaf = await authority.sign({
    spkiDer: spkiOf(await sharedKey("ecdsa-p256")),
    subjectCommonName: "www.example.com",
    sans: [sanOf("www.example.com")],
    ekus: [],
    notBefore: new Date(start.getTime() - dayMs),
    notAfter,
  })
  const certificate = await insertCertificate(db)
  await db.transaction((tx) =>
    tx.insert(db.t.certificateVersions).values({
      id: `cv-${leaf.serial}`,
      certificateId: certificate.id,
      serialNumber: leaf.serial,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      fingerprintSha256: leaf.fingerprint,
      pemChain: leaf.certPem + authority.chainPem,
      issuerId: "iss-1",
      shortLived: more.shortLived ?? false,
      createdAt: start,
    }),
  )
  return { ...leaf, certificateId: certificate.id, shortLived: more.shortLived ?? false }
}

type Leaf = Awaited<ReturnType<typeof issue>>

const revoke = (db: Db, at: Date, leaf: Leaf, reason = "keyCompromise") =>
  db.transaction((tx) =>
    tx.insert(db.t.certificateRevocations).values({
      id: `rev-${leaf.serial}`,
      certificateId: leaf.certificateId,
      serialNumber: leaf.serial,
      reason,
      revokedBy: "tester",
      revokedAt: at,
      issuerId: "iss-1",
      notAfter: leaf.notAfter,
      shortLived: leaf.shortLived,
      createdAt: at,
    }),
  )

const getCrl = async ({ app }: Server, query = "", headers: Record<string, string> = {}) => {
  const answer = await app.request(`/.well-known/pki/crl/iss-1${query}`, { headers })
  return { answer, der: Buffer.from(await answer.arrayBuffer()) }
}

const crlText = (der: Buffer, authority: Authority): string =>
  openssl(["crl", "-in", "a.pem", "-CAfile", "ca.pem", "-noout", "-text"], {
    "a.pem": toPem("X509 CRL", der),
    "ca.pem": authority.certPem,
  }).text

const listedSerials = (der: Buffer, authority: Authority): string[] =>
  [...crlText(der, authority).matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, hex = ""]) => hex.toLowerCase()).sort()

const requestFor = (authority: Authority, certPem: string, options: readonly string[] = []): Buffer => {
  const folder = mkdtempSync(join(tmpdir(), "certctl-ocsp-"))
  try {
    const made = openssl(
      ["ocsp", "-issuer", "ca.pem", ...options, "-cert", "a.pem", "-reqout", join(folder, "r.der")],
      {
        "ca.pem": authority.certPem,
        "a.pem": certPem,
      },
    )
    if (!made.ok) throw new Error(made.text)
    return readFileSync(join(folder, "r.der"))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What openssl makes of an answer, verified against the CA: `good`, `revoked` or `unknown`, or its complaint. */
const verdict = (authority: Authority, request: Buffer, response: Buffer): string => {
  const { text } = openssl(
    ["ocsp", "-reqin", "r.der", "-respin", "s.der", "-CAfile", "ca.pem", "-issuer", "ca.pem", "-resp_text"],
    { "ca.pem": authority.certPem, "r.der": request, "s.der": response },
  )
  const state = /Cert Status: (\w+)/.exec(text)?.[1] ?? "none"
  return text.includes("Response verify OK") ? state : text
}

const post = async ({ app }: Server, body: Buffer, headers: Record<string, string> = {}) => {
  const answer = await app.request("/.well-known/pki/ocsp/iss-1", {
    method: "POST",
    body: new Uint8Array(body),
    headers: { "content-type": "application/ocsp-request", ...headers },
  })
  return { answer, der: Buffer.from(await answer.arrayBuffer()) }
}

const ask = async (server: Server, authority: Authority, certPem: string, options: readonly string[] = []) => {
  const request = requestFor(authority, certPem, options)
  return verdict(authority, request, (await post(server, request)).der)
}

onEachDialect("revocation status", (openDb) => {
  describe("lists", () => {
    test("name what is revoked, leave out short-lived and long expired certificates, and are verified by openssl", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const server = serverOn(db, [authority])
      const [one, two, good] = [await issue(db, authority), await issue(db, authority), await issue(db, authority)]
      const short = await issue(db, authority, { shortLived: true })
      const expired = await issue(db, authority, { notAfter: new Date(start.getTime() - 3600_000) })
      for (const leaf of [one, two, short, expired]) await revoke(db, start, leaf)

      const { answer, der } = await getCrl(server)
      expect(answer.status).toBe(200)
      expect(answer.headers.get("content-type")).toBe("application/pkix-crl")
      expect(answer.headers.get("cache-control")).toBe("public, max-age=3600, must-revalidate")
      expect(crlText(der, authority)).toContain("verify OK")
      // One that expired an hour ago stays for one more list (RFC 5280 section 3.3).
      expect(listedSerials(der, authority)).toEqual([one, two, expired].map(({ serial }) => serial).sort())
      expect(listedSerials(der, authority)).not.toContain(good.serial)

      server.pass(3 * dayMs)
      await server.crls.refreshAll(new AbortController().signal)
      expect(listedSerials((await getCrl(server)).der, authority)).toEqual(
        [one, two].map(({ serial }) => serial).sort(),
      )
    })

    test("are served from memory until something is revoked, on every server within half a second", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const [here, there] = [serverOn(db, [authority]), serverOn(db, [authority])]
      const leaves = [await issue(db, authority), await issue(db, authority), await issue(db, authority)]
      const [first] = leaves
      if (first === undefined) throw new Error("nothing issued")
      const empty = await getCrl(here)
      expect((await getCrl(here)).der).toEqual(empty.der)
      // Another server, and one that starts anew, takes over what is signed already.
      here.pass(minuteMs)
      there.pass(minuteMs)
      expect((await getCrl(there)).der).toEqual(empty.der)

      let last = empty
      for (const leaf of leaves) {
        for (const server of [here, there]) server.pass(600)
        await revoke(db, here.time.now, leaf)
        for (const server of [here, there]) server.pass(600)
        for (const server of [here, there]) {
          const next = await getCrl(server)
          expect(listedSerials(next.der, authority)).toContain(leaf.serial)
          expect(next.answer.headers.get("etag")).not.toBe(last.answer.headers.get("etag"))
        }
        last = await getCrl(here)
      }
      expect(listedSerials(last.der, authority)).toEqual(leaves.map(({ serial }) => serial).sort())
      const numbers = [empty, last].map(({ der }) =>
        Number(/CRL Number: \n\s*(\S+)/.exec(crlText(der, authority))?.[1] ?? 0),
      )
      expect(numbers[1]).toBeGreaterThan(numbers[0] ?? Number.POSITIVE_INFINITY)
    })

    test("know their entity tag, and old ones are replaced before they lapse", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      await insertCertificate(db)
      const server = serverOn(db, [authority])
      const { answer, der } = await getCrl(server)
      const etag = answer.headers.get("etag") ?? ""
      expect(etag).toMatch(/^W\/"[0-9a-f]{16}"$/)
      const again = await getCrl(server, "", { "if-none-match": etag })
      expect([again.answer.status, again.der.length]).toEqual([304, 0])
      server.pass(13 * 60 * minuteMs)
      expect((await getCrl(server)).der).not.toEqual(der)
    })

    test("of a CA that was replaced are still signed with its key, picked by its identifier", async () => {
      const db = await openDb()
      const [former, active] = [await makeAuthority(), await makeAuthority()]
      await insertCertificate(db)
      const server = serverOn(db, [active, former])
      expect(crlText((await getCrl(server)).der, active)).toContain("verify OK")
      const old = await getCrl(server, `?ca=${former.keyId.toString("hex")}`)
      expect(crlText(old.der, former)).toContain("verify OK")
      expect((await getCrl(server, "?ca=00ff")).answer.status).toBe(404)
      expect((await getCrl(server, "?ca=zz")).answer.status).toBe(400)
      const certificate = await server.app.request(`/.well-known/pki/ca/iss-1?ca=${former.keyId.toString("hex")}`)
      expect(certificate.headers.get("content-type")).toBe("application/pkix-cert")
      expect(former.certDer.equals(Buffer.from(await certificate.arrayBuffer()))).toBe(true)
    })

    test("tell unknown issuers from those whose CA publishes elsewhere", async () => {
      const db = await openDb()
      const server = serverOn(db, [await makeAuthority()])
      const status = async (path: string) => (await server.app.request(`/.well-known/pki/${path}`)).status
      expect(await status("crl/iss-none")).toBe(404)
      expect(await status("crl/iss-elsewhere")).toBe(501)
      expect(await status("ca/iss-elsewhere")).toBe(501)
      expect(await status("ocsp/iss-none/01")).toBe(404)
      expect(await status("ocsp/iss-elsewhere/01")).toBe(501)
    })

    test("are shown to administrators with their history", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const leaf = await issue(db, authority)
      await revoke(db, start, leaf)
      const server = serverOn(db, [authority])
      const rows = async () => (await (await server.app.request("/api/v1/admin/crl/cache")).json()).cache_rows
      expect(await rows()).toEqual([{ issuer_id: "iss-1", cache_present: false, recent_events: [] }])
      await getCrl(server)
      expect(await rows()).toMatchObject([
        {
          issuer_id: "iss-1",
          cache_present: true,
          revoked_count: 1,
          is_stale: false,
          recent_events: [{ succeeded: true }],
        },
      ])
      expect((await server.asViewer.request("/api/v1/admin/crl/cache")).status).toBe(403)
    })

    test("are stored unless they are long, and then made anew by a server that starts, with a higher number", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const leaf = await issue(db, authority)
      await revoke(db, start, leaf)
      const first = serverOn(db, [authority], { mostStored: 100 })
      const { der } = await getCrl(first)
      const [row] = await db.read.select().from(db.t.crlCache)
      expect(row).toMatchObject({ revokedCount: 1, crlDer: Buffer.alloc(0) })
      const second = serverOn(db, [authority], { mostStored: 100 })
      const next = await getCrl(second)
      expect(listedSerials(next.der, authority)).toEqual(listedSerials(der, authority))
      const [replaced] = await db.read.select().from(db.t.crlCache)
      expect(replaced?.crlNumber).toBeGreaterThan(row?.crlNumber ?? Number.POSITIVE_INFINITY)
      // Nothing more than that: it is served from memory.
      expect((await getCrl(second)).der).toEqual(next.der)
    })

    test("hold every one of many revocations, read in pages", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const certificate = await insertCertificate(db)
      const server = serverOn(db, [authority])
      const rows = Array.from({ length: 2500 }, (_, n) => ({
        id: `rev-${n}`,
        certificateId: certificate.id,
        serialNumber: `4${randomBytes(19).toString("hex").slice(1)}`,
        revokedBy: "tester",
        revokedAt: start,
        issuerId: "iss-1",
        // Many at one moment: the order must not lose any between two pages.
        createdAt: new Date(start.getTime() - dayMs + Math.floor(n / 700)),
      }))
      for (let at = 0; at < rows.length; at += 500) {
        await db.transaction((tx) => tx.insert(db.t.certificateRevocations).values(rows.slice(at, at + 500)))
      }
      const { der } = await getCrl(server)
      expect(new Set(listedSerials(der, authority))).toEqual(
        new Set(rows.map(({ serialNumber }) => serialNumber.replace(/^0+/, ""))),
      )
    })
  })

  describe("OCSP", () => {
    test("answers good, revoked and unknown, with and without nonce, signed by a responder of its own", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const server = serverOn(db, [authority])
      const [good, revoked, short] = [
        await issue(db, authority),
        await issue(db, authority),
        await issue(db, authority, { shortLived: true }),
      ]
      await revoke(db, start, revoked)
      await revoke(db, start, short)
      const stranger = await authority.sign({
        spkiDer: spkiOf(await sharedKey("ecdsa-p256")),
        subjectCommonName: "never.stored",
        sans: [],
        ekus: [],
        notBefore: start,
        notAfter: new Date(start.getTime() + dayMs),
      })
      for (const options of [["-nonce"], ["-no_nonce"], ["-sha256", "-no_nonce"]]) {
        expect(await ask(server, authority, good.certPem, options)).toBe("good")
        expect(await ask(server, authority, revoked.certPem, options)).toBe("revoked")
        expect(await ask(server, authority, short.certPem, options)).toBe("good")
        expect(await ask(server, authority, stranger.certPem, options)).toBe("unknown")
      }
      expect(await server.actionsOn("iss-1")).toEqual(["ocsp_responder_created"])
      const [responder] = await db.read.select().from(db.t.ocspResponders)
      expect(openssl(["x509", "-in", "a.pem", "-noout", "-text"], { "a.pem": responder?.certPem ?? "" }).text).toMatch(
        /OCSP Responder for CertCtl Local CA[\s\S]*OCSP Signing[\s\S]*OCSP No Check/,
      )
      expect(responder?.encryptedKey.toString("latin1")).not.toContain("PRIVATE KEY")
      expect(keyFacts(authority.spkiDer).algorithm).toBe("ECDSA")
    })

    test("a revocation shows within half a second on every server, although answers are kept", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const servers = [serverOn(db, [authority]), serverOn(db, [authority])]
      const [leaf, other] = [await issue(db, authority), await issue(db, authority)]
      const ways = [["-no_nonce"], ["-nonce"]]
      for (const server of servers) {
        for (const way of ways) {
          expect(await ask(server, authority, leaf.certPem, way)).toBe("good")
          expect(await ask(server, authority, other.certPem, way)).toBe("good")
        }
        server.pass(10_000)
      }
      await revoke(db, servers[0]?.time.now ?? start, leaf)
      for (const server of servers) {
        server.pass(500)
        for (const way of ways) {
          expect(await ask(server, authority, leaf.certPem, way)).toBe("revoked")
          expect(await ask(server, authority, other.certPem, way)).toBe("good")
        }
      }
    })

    test("of a serial that is unknown is not remembered by those who send a nonce: it may be issued next", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const server = serverOn(db, [authority])
      const leaf = await issue(db, authority)
      const versions = await db.read.select().from(db.t.certificateVersions)
      await db.transaction((tx) => tx.delete(db.t.certificateVersions))
      expect(await ask(server, authority, leaf.certPem, ["-nonce"])).toBe("unknown")
      await db.transaction((tx) => tx.insert(db.t.certificateVersions).values(versions))
      expect(await ask(server, authority, leaf.certPem, ["-nonce"])).toBe("good")
    })

    test("serves a bare serial in any spelling, and a base64 request in the path", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const server = serverOn(db, [authority])
      const leaf = await issue(db, authority)
      const get = async (rest: string) => {
        const answer = await server.app.request(`/.well-known/pki/ocsp/iss-1/${rest}`)
        return { answer, der: Buffer.from(await answer.arrayBuffer()) }
      }
      const request = requestFor(authority, leaf.certPem, ["-no_nonce"])
      const spellings = [
        leaf.serial,
        leaf.serial.toUpperCase(),
        `00${leaf.serial}`,
        leaf.serial.match(/../g)?.join(":") ?? "",
      ]
      for (const spelling of spellings) {
        const { answer, der } = await get(spelling)
        expect(answer.headers.get("content-type")).toBe("application/ocsp-response")
        expect(answer.headers.get("cache-control")).toBe("max-age=3600")
        expect(verdict(authority, request, der)).toBe("good")
      }
      const base64 = request.toString("base64")
      expect(verdict(authority, request, (await get(encodeURIComponent(base64))).der)).toBe("good")
      expect(verdict(authority, request, (await get(base64)).der)).toBe("good")
      expect((await get("not-hex")).answer.status).toBe(400)
      expect((await get("")).answer.status).toBe(404)
    })

    test("answers several certificates in one response", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const server = serverOn(db, [authority])
      const [one, two] = [await issue(db, authority), await issue(db, authority)]
      await revoke(db, start, two)
      const folder = mkdtempSync(join(tmpdir(), "certctl-ocsp-"))
      openssl(["ocsp", "-issuer", "ca.pem", "-cert", "a.pem", "-cert", "b.pem", "-reqout", join(folder, "r.der")], {
        "ca.pem": authority.certPem,
        "a.pem": one.certPem,
        "b.pem": two.certPem,
      })
      const request = readFileSync(join(folder, "r.der"))
      rmSync(folder, { recursive: true, force: true })
      const { text } = openssl(["ocsp", "-respin", "s.der", "-CAfile", "ca.pem", "-resp_text"], {
        "ca.pem": authority.certPem,
        "s.der": (await post(server, request)).der,
      })
      expect([...text.matchAll(/Cert Status: (\w+)/g)].map(([, state]) => state)).toEqual(["good", "revoked"])
      expect(text).toContain("Response verify OK")
    })

    test("refuses what it cannot read, in HTTP's words or OCSP's", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const server = serverOn(db, [authority])
      const leaf = await issue(db, authority)
      const request = requestFor(authority, leaf.certPem, ["-no_nonce"])
      expect((await post(server, Buffer.from("junk"))).answer.status).toBe(400)
      expect((await post(server, request, { "content-type": "text/plain" })).answer.status).toBe(415)
      expect((await post(server, Buffer.alloc(17 * 1024))).answer.status).toBe(413)
      expect(server.counted.get("request_invalid")).toBe(1)
    })

    test("limits each address in OCSP's own words", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const server = serverOn(db, [authority], { perMinute: 3 })
      const leaf = await issue(db, authority)
      const request = requestFor(authority, leaf.certPem, ["-no_nonce"])
      const answers = []
      for (let n = 0; n < 5; n++) answers.push(await post(server, request))
      expect(answers.map(({ answer }) => answer.status)).toEqual([200, 200, 200, 200, 200])
      expect(answers.map(({ answer }) => answer.headers.get("retry-after"))).toEqual([null, null, null, "60", "60"])
      expect(answers.map(({ der }) => der.length < 10)).toEqual([false, false, false, true, true])
      expect(server.counted.get("rate_limited")).toBe(2)
    })

    test("replaces its certificate a week before the end, once among several servers", async () => {
      const db = await openDb()
      const authority = await makeAuthority()
      const servers = [serverOn(db, [authority]), serverOn(db, [authority])]
      const leaf = await issue(db, authority)
      for (const server of servers) await ask(server, authority, leaf.certPem)
      const serials = async () => (await db.read.select().from(db.t.ocspResponders)).map(({ certSerial }) => certSerial)
      const before = await serials()
      for (const server of servers) server.pass(24 * dayMs)
      await Promise.all(servers.map((server) => server.app.request(`/.well-known/pki/ocsp/iss-1/${leaf.serial}`)))
      const after = await serials()
      expect(after).toHaveLength(1)
      expect(after).not.toEqual(before)
      const rows = await db.read.select().from(db.t.ocspResponders)
      expect(rows.map(({ rotatedFrom }) => rotatedFrom)).toEqual(before)
      expect(await servers[0]?.actionsOn("iss-1")).toEqual(["ocsp_responder_created", "ocsp_responder_rotated"])
    })

    test("signs with the CA that issued the certificate asked about", async () => {
      const db = await openDb()
      const [former, active] = [await makeAuthority("Old CA"), await makeAuthority("New CA")]
      const server = serverOn(db, [active, former])
      const [old, young] = [await issue(db, former), await issue(db, active)]
      for (const options of [["-nonce"], ["-no_nonce"]]) {
        expect(await ask(server, former, old.certPem, options)).toBe("good")
        expect(await ask(server, active, young.certPem, options)).toBe("good")
      }
      const bare = await server.app.request(`/.well-known/pki/ocsp/iss-1/${old.serial}`)
      const request = requestFor(former, old.certPem, ["-no_nonce"])
      expect(verdict(former, request, Buffer.from(await bare.arrayBuffer()))).toBe("good")
    })
  })
})
