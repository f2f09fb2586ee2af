/** The keys that certctl makes for itself, of the CA, its OCSP responder and its SCEP RA: kept sealed, and the same after a restart. */

import { Database } from "bun:sqlite"
import { expect, setDefaultTimeout, test } from "bun:test"
import { createPrivateKey } from "node:crypto"
import { join } from "node:path"
import postgres from "postgres"
import { parseCertificate } from "../pki/certificate"
import { readSignedData } from "../pki/cms-signed-data"
import { openssl } from "../pki/openssl.process"
import { certificateBlocks } from "../pki/pem"
import { estEnrol, estEnvironment } from "../testing/est-client"
import { onEachDatabase, type Scene } from "../testing/on-each-database"
import { encryptionKey, type ServerProcess, serverProcess } from "../testing/server-process"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const tables = ["ca_keys", "ocsp_responders", "scep_registration_authorities"] as const

/** What each table holds for a private key, its columns that are bytes or text, as somebody reads them who has the database alone. */
const keyColumns = async ({ dataDir, env }: ServerProcess): Promise<Map<string, Buffer[]>> => {
  const url = env.CERTCTL_DATABASE_URL
  const rowsOf = async (table: string): Promise<Record<string, unknown>[]> => {
    if (url === undefined) {
      const file = new Database(join(dataDir, "certctl.db"), { readonly: true })
      const rows = file.query(`select * from ${table}`).all() as Record<string, unknown>[]
      file.close()
      return rows
    }
    const sql = postgres(url, { max: 1, onnotice: () => undefined })
    const rows = await sql`select * from ${sql(table)}`
    await sql.end()
    return [...rows]
  }
  const found = new Map<string, Buffer[]>()
  for (const table of tables) {
    const values = (await rowsOf(table)).flatMap((row) => Object.entries(row))
    const bytes = values.flatMap(([, value]) => {
      if (value instanceof Uint8Array) return [Buffer.from(value)]
      return typeof value === "string"
        ? [Buffer.from(value), Buffer.from(value, "base64"), Buffer.from(value, "hex")]
        : []
    })
    expect(values.some(([column, value]) => column.startsWith("encrypted_") && value !== null)).toBe(true)
    found.set(table, bytes)
  }
  return found
}

const isPrivateKey = (bytes: Buffer): boolean =>
  (["pkcs8", "pkcs1", "sec1"] as const).some((type) => {
    try {
      createPrivateKey({ key: bytes, format: "der", type })
      return true
    } catch {
      return bytes.includes("PRIVATE KEY")
    }
  })

const startServer = async ({ stage, env }: Scene) => {
  const server = await serverProcess(stage, {
    env: {
      CERTCTL_CONFIG_ENCRYPTION_KEY: encryptionKey,
      ...env,
      ...estEnvironment,
      CERTCTL_SCEP_ENABLED: "true",
      CERTCTL_SCEP_CHALLENGE_PASSWORD: "for every device",
    },
  })
  await server.start()
  const bytes = async (path: string): Promise<Buffer> => {
    const answer = await fetch(server.url + path, { keepalive: false, tls: { ca: server.caPem } })
    expect(answer.status).toBe(200)
    return Buffer.from(await answer.arrayBuffer())
  }
  /** SHA-256 of the certificates that relying parties and clients see. */
  const identities = async (serial: string) => {
    const [ra = Buffer.alloc(0)] = readSignedData(await bytes("/scep?operation=GetCACert")).certificates
    const answer = await bytes(`/.well-known/pki/ocsp/iss-local/${serial}`)
    const shown = openssl(["ocsp", "-respin", "a.der", "-noverify", "-resp_text"], { "a.der": answer }).text
    const [responder = Buffer.alloc(0)] = certificateBlocks(shown)
    const ders = { ca: await bytes("/.well-known/pki/ca/iss-local"), responder, ra }
    return Object.fromEntries(Object.entries(ders).map(([name, der]) => [name, parseCertificate(der).fingerprint]))
  }
  return { server, identities }
}

onEachDatabase("the keys of the CA, the responder and the RA", (open) => {
  test("are sealed in the database, and the same after a restart and a crash", async () => {
    const { server, identities } = await startServer(await open())
    const first = await estEnrol(server, { commonName: "device-1.example", sans: ["device-1.example"] })
    const before = await identities(first.serial)
    expect(new Set(Object.values(before)).size).toBe(3)
    for (const [table, values] of await keyColumns(server)) {
      expect([table, values.filter(isPrivateKey).length]).toEqual([table, 0])
    }
    await server.stop()
    await server.start()
    expect(await identities(first.serial)).toEqual(before)
    await server.kill()
    await server.start()
    expect(await identities(first.serial)).toEqual(before)
    const second = await estEnrol(server, { commonName: "device-2.example", sans: ["device-2.example"] })
    expect(second.chainPem).toBe(first.chainPem)
    const verified = openssl(["verify", "-x509_strict", "-CAfile", "ca.pem", "first.pem", "second.pem"], {
      "ca.pem": second.chainPem,
      "first.pem": first.leafPem,
      "second.pem": second.leafPem,
    })
    expect(verified).toEqual({ ok: true, text: "first.pem: OK\nsecond.pem: OK\n" })
    expect(server.log()).not.toContain("PRIVATE KEY")
  })
})
