/** The digest: a regular mail with the state of all certificates. */
import type { Clock } from "../clock"
import type { Notifier } from "../connectors/notifiers/contract"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import type { StatsService } from "../stats/stats.service"
import { type DigestFacts, digestHtml, digestSubject, digestText } from "./digest.content"
import type { DigestStore } from "./digest.store"

interface Deps {
  db: Pick<Db, "transaction">
  digests: DigestStore
  stats: Pick<StatsService, "summary" | "certificatesByStatus" | "attention">
  /** null: there is no e-mail. */
  mail: Notifier | null
  settings: { readonly enabled: boolean; readonly intervalMs: number; readonly recipients: readonly string[] }
  clock: Clock
  publicUrl: string
  onRecipientError: (recipient: string, error: unknown) => void
}

export interface SentDigest {
  readonly sent: number
  readonly failed: number
}

const dayMs = 86_400_000
const expiringRows = 100
const failedRows = 20
/** Mails under way at once. */
const concurrency = 4

export const digestService = (deps: Deps) => {
  const { db, digests, stats, settings, clock, publicUrl } = deps

  const mailer = (): Notifier => {
    if (!settings.enabled) throw new AppError("unavailable", "the digest is off: set CERTCTL_DIGEST_ENABLED to true")
    if (deps.mail === null) {
      throw new AppError("unavailable", "there is no e-mail: set CERTCTL_SMTP_HOST and CERTCTL_SMTP_FROM_ADDRESS")
    }
    return deps.mail
  }

  const facts = async (): Promise<DigestFacts> => {
    const now = clock.now()
    const [summary, byStatus, { silentAgents }, expiring, failures] = await Promise.all([
      stats.summary(),
      stats.certificatesByStatus(),
      stats.attention(),
      digests.expiring(now, new Date(now.getTime() + 30 * dayMs), expiringRows),
      digests.failedJobs(new Date(now.getTime() - 7 * dayMs), failedRows),
    ])
    return { ...summary, byStatus, silentAgents, expiring, failures, now, publicUrl }
  }

  const recipients = async (): Promise<readonly string[]> => {
    const found = settings.recipients.length > 0 ? settings.recipients : await digests.ownerAddresses()
    if (found.length > 0) return found
    throw new AppError(
      "unavailable",
      "nobody would get the digest: set CERTCTL_DIGEST_RECIPIENTS, or give the owners of certificates an e-mail address",
    )
  }

  /** One mail each: nobody sees who else gets it, and one bad address stops no other. */
  const send = async (): Promise<SentDigest> => {
    const mail = mailer()
    const waiting = [...(await recipients())]
    const content = await facts()
    const common = { body: digestText(content), html: digestHtml(content), subject: digestSubject(content.now) }
    let sent = 0
    let failed = 0
    let lastError: unknown
    const worker = async (): Promise<void> => {
      for (let recipient = waiting.shift(); recipient !== undefined; recipient = waiting.shift()) {
        try {
          await mail.send({
            ...common,
            id: newId("digest-"),
            kind: "event",
            type: "Digest",
            severity: "info",
            recipient,
            certificateId: null,
            createdAt: content.now,
          })
          sent += 1
        } catch (error) {
          failed += 1
          lastError = error
          deps.onRecipientError(recipient, error)
        }
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    if (sent === 0) throw new AppError("upstream", "the digest reached nobody", { cause: lastError })
    return { sent, failed }
  }

  return {
    /** HTML of the mail as it would be sent now. @throws AppError `unavailable` the digest is off or there is no e-mail */
    async preview(): Promise<string> {
      mailer()
      return digestHtml(await facts())
    },

    /** @throws AppError `unavailable` off, no e-mail or no recipients; `upstream` it reached nobody */
    send,

    /**
     * Sends when an interval has passed since the last time. The time is stored: restarts neither repeat nor put off a digest, and
     * the first comes one interval after the feature was switched on.
     */
    async sendWhenDue(): Promise<SentDigest | null> {
      mailer()
      const now = clock.now()
      const last = await digests.lastDueAt()
      const isDue = last !== null && now.getTime() - last.getTime() >= settings.intervalMs
      if (last !== null && !isDue) return null
      if (!(await db.transaction((tx) => digests.setLastDueAt(tx, last, now, now)))) return null
      if (!isDue) return null
      try {
        return await send()
      } catch (error) {
        // Nobody has got it: the next pass tries again.
        await db.transaction((tx) => digests.setLastDueAt(tx, now, last, now))
        throw error
      }
    },
  }
}

export type DigestService = ReturnType<typeof digestService>
