/** SCEP passwords that let one client in once. Stored as a hash: the password itself is only ever in the answer that made it. */
import { createHash, randomBytes } from "node:crypto"
import { type Actor, actorName } from "../access/actor"
import { secretHash } from "../access/secrets"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import type { Csr } from "../pki/csr"
import type { ChallengeRow, ChallengeStore } from "./challenge.store"

interface Deps {
  db: Pick<Db, "transaction">
  challenges: ChallengeStore
  /** Path labels of the SCEP profiles. */
  pathIds: ReadonlySet<string>
  audit: Pick<AuditService, "append">
  clock: Clock
}

const defaultTtlSeconds = 3600
export const longestChallengeTtlSeconds = 7 * 86_400
/** Rows stay this long after their end, for who asks what became of a password. */
const keptMs = 30 * 86_400_000

const csrHashOf = ({ der }: Csr): string => createHash("sha256").update(der).digest("hex")

export const challengeService = ({ db, challenges, pathIds, audit, clock }: Deps) => ({
  /** A password for one enrolment at a profile's path. Fails with `not_found` when there is no such profile. */
  async create(
    { pathId = "", ttlSeconds = defaultTtlSeconds }: { pathId?: string; ttlSeconds?: number },
    actor: Actor,
  ): Promise<ChallengeRow & { challenge: string }> {
    if (!pathIds.has(pathId)) {
      throw new AppError("not_found", `there is no SCEP profile with the path ${pathId || "(root)"}`)
    }
    // Hex: people type it into devices, and these put it into a PrintableString.
    const challenge = randomBytes(20).toString("hex")
    const now = clock.now()
    const row: ChallengeRow = {
      id: newId("sc-"),
      hash: secretHash(challenge),
      pathId,
      createdBy: actorName(actor),
      createdAt: now,
      expiresAt: new Date(now.getTime() + ttlSeconds * 1000),
      usedAt: null,
      waitingCsrHash: null,
    }
    await db.transaction(async (tx) => {
      await challenges.dropExpired(tx, new Date(now.getTime() - keptMs))
      await challenges.insert(tx, row)
      await audit.append(tx, {
        actor,
        action: "scep_challenge_created",
        resourceType: "scep_challenge",
        resourceId: row.id,
        details: { path_id: pathId, expires_at: row.expiresAt.toISOString() },
      })
    })
    return { ...row, challenge }
  },

  /** Uses a password up: of two clients that come with it at one moment one is let in. Resolves with its id, or null. */
  spend: (challenge: string, pathId: string, csr: Csr): Promise<string | null> =>
    db.transaction((tx) =>
      challenges.spend(tx, { hash: secretHash(challenge), pathId, csrHash: csrHashOf(csr) }, clock.now()),
    ),

  /** Keeps a spent password for the same CSR, which its client sends again until the CA has decided. */
  postpone: (id: string, csr: Csr): Promise<void> =>
    db.transaction((tx) => challenges.postpone(tx, id, csrHashOf(csr))),

  /** Gives a password back to a client that got nothing for it. */
  release: (id: string): Promise<void> => db.transaction((tx) => challenges.release(tx, id)),
})

export type ChallengeService = ReturnType<typeof challengeService>
