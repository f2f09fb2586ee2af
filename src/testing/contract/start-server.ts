/** Whole servers short of their listener, as `certctl server` makes them, several on one database if need be. */
import { rmSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { systemClock } from "../../clock"
import { readConfig } from "../../config"
import { type SmtpFake, startSmtp } from "../../connectors/notifiers/smtp.fake"
import type { Db } from "../../db/db"
import { openSealer } from "../../secrets/sealing"
import { wire } from "../../wiring"
import { type ContractDocument, readDocument } from "./document"
import { readAnswer, type Send, sendTo } from "./server"

export const adminKey = "an administrator's key of some length"

const cleanups: (() => unknown)[] = []

/** For `afterEach`. */
export const endServers = async (): Promise<void> => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
}

/** Without limits, mail and digest unless `env` has them. */
export const startServer = async (db: Db, env: Readonly<Record<string, string>> = {}) => {
  const dataDir = await mkdtemp(join(tmpdir(), "certctl-contract-"))
  cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }))
  const config = readConfig({
    CERTCTL_DATA_DIR: dataDir,
    CERTCTL_API_KEYS_NAMED: `root:${adminKey}:admin`,
    CERTCTL_RATE_LIMIT_ENABLED: "false",
    ...env,
  })
  const sealer = await openSealer({ passphrase: "a passphrase of more than 32 bytes" })
  const wired = wire({ config, db, sealer, clock: systemClock, serverId: "srv-test", caFingerprint: "" })
  await wired.prepare()
  cleanups.push(() => wired.close(1000))
  return { send: sendTo(wired.app), folder: dataDir, maxBodyBytes: config.server.maxBodyBytes }
}

/** A server that can send mail and the digest, and the mail server. */
export const startMailingServer = async (
  db: Db,
): Promise<{ send: Send; folder: string; maxBodyBytes: number; smtp: SmtpFake }> => {
  const smtp = await startSmtp({ starttls: false, auth: false })
  cleanups.push(() => smtp.stop())
  const server = await startServer(db, {
    CERTCTL_DIGEST_ENABLED: "true",
    CERTCTL_DIGEST_RECIPIENTS: "ops@example.com",
    CERTCTL_SMTP_HOST: "localhost",
    CERTCTL_SMTP_PORT: String(smtp.port),
    CERTCTL_SMTP_USE_TLS: "false",
    CERTCTL_SMTP_FROM_ADDRESS: "certctl@example.com",
  })
  return { ...server, smtp }
}

export const documentOf = async (send: Send): Promise<ContractDocument> => {
  const answer = await readAnswer(await send({ method: "GET", path: "/api/v1/openapi.json", key: adminKey }))
  return readDocument(answer.body)
}
