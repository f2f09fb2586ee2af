/** The server with ACME switched on, as one application in this process, and what tests of it do again and again. */
import { expect } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { parseCertificate } from "../pki/certificate"
import { certificateBlocks } from "../pki/pem"
import { openSealer } from "../secrets/sealing"
import { wire } from "../wiring"
import type { WiringOptions } from "../wiring/options"
import { type AcmeAnswer, type AcmeClient, acmeClient, type acmeKey } from "./acme-client"

const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
export const publicUrl = "https://ca.example.test:8443"

const cleanups: (() => unknown)[] = []
/** For `afterEach`. */
export const endAcmeServers = async (): Promise<void> => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
}

export const acmeServer = async (
  db: Db,
  env: Record<string, string> = {},
  { serverId = "srv-test", ...options }: Partial<Pick<WiringOptions, "serverId" | "acmeProofs" | "openIssuer">> = {},
) => {
  const dataDir = mkdtempSync(join(tmpdir(), "certctl-acme-"))
  cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const time = { now: new Date() }
  const wired = wire({
    config: readConfig({
      CERTCTL_DATA_DIR: dataDir,
      CERTCTL_PUBLIC_URL: publicUrl,
      CERTCTL_ACME_SERVER_ENABLED: "true",
      CERTCTL_ACME_SERVER_DEFAULT_PROFILE_ID: "prof-web",
      CERTCTL_API_KEYS_NAMED: "root:root-key:admin,ops:ops-key",
      CERTCTL_RATE_LIMIT_ENABLED: "false",
      ...env,
    }),
    db,
    sealer,
    clock: { now: () => time.now },
    serverId,
    caFingerprint: "",
    ...options,
  })
  await wired.prepare()
  const send = (url: string, init: RequestInit = {}) => wired.app.request(url, init, { remoteAddress: "198.51.100.7" })
  const api = async (method: string, path: string, body?: object, key = "root-key") => {
    const answer = await send(`${publicUrl}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${key}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, text, body: text.startsWith("{") ? JSON.parse(text) : null }
  }
  const profile = async (settings: object = {}) => {
    const made = await api("POST", "/profiles", { id: "prof-web", name: "web", ...settings })
    expect(made.status).toBe(201)
  }
  const client = (path = "/acme/directory", ...key: [ReturnType<typeof acmeKey>?]) =>
    acmeClient(send, publicUrl + path, ...key)
  const audits = async (action: string) => (await wired.services.audit.list({ action }, { page: 1, per_page: 50 })).rows
  const { server } = wired.services.acme
  if (server === null) throw new Error("the ACME server is off")
  return { wired, acme: server, send, api, profile, client, audits, time }
}

type Server = Awaited<ReturnType<typeof acmeServer>>

/** Status and type of a failure, which comes as RFC 8555 section 6.7 wants it. */
export const problem = ({ status, headers, body }: AcmeAnswer) => {
  expect(headers.get("content-type")).toBe("application/problem+json")
  expect(headers.get("replay-nonce")).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(body.status).toBe(status)
  return [status, String(body.type).replace("urn:ietf:params:acme:error:", "")]
}

/** A client with an account. */
export const registered = async (server: Server, ...how: Parameters<Server["client"]>): Promise<AcmeClient> => {
  const client = server.client(...how)
  const answer = await client.register()
  expect(answer.status).toBe(201)
  return client
}

/** From the order to the PEM chain. */
export const issue = async (client: AcmeClient, ...names: string[]) => {
  const order = await client.order(...names)
  expect([order.status, order.body.status]).toEqual([201, "ready"])
  const done = await client.finalize(order)
  expect([done.status, done.body.status]).toEqual([200, "valid"])
  const { status, text, headers } = await client.post(done.body.certificate)
  expect([status, headers.get("content-type")]).toEqual([200, "application/pem-certificate-chain"])
  return { order, url: String(order.headers.get("location")), pem: text, privateKey: done.privateKey }
}

/** RFC 9773 section 4.1. */
export const certIdOf = (pem: string): string => {
  const { aki, serial } = parseCertificate(pem)
  const bytes = Buffer.from(serial, "hex")
  const signed = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes
  return `${Buffer.from(aki ?? "", "hex").toString("base64url")}.${signed.toString("base64url")}`
}

/** Payload of a request for revocation. */
export const revocation = (pem: string, reason?: number) => ({
  certificate: certificateBlocks(pem)[0]?.toString("base64url"),
  ...(reason === undefined ? {} : { reason }),
})
