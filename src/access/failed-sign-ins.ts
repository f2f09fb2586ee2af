/**
 * Failed sign-ins in the audit trail: by whom (an address, never what was typed) and how many. The trail is append-only, so that a
 * stranger with many addresses must not be able to fill it: past a burst only so many are written, and the next one that is written
 * says how many were not. In memory, so per server process.
 */
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { logger } from "../logging"
import type { Actor } from "./actor"

interface Deps {
  readonly db: Pick<Db, "transaction">
  readonly audit: Pick<AuditService, "append">
  readonly clock: Clock
}

const nobody: Actor = { name: "anonymous", type: "User", role: "none" }

const burst = 30
const everyMs = 60_000

const log = logger("access")

export const failedSignIns = ({ db, audit, clock }: Deps) => {
  let left = burst
  let filledAt = clock.now().getTime()
  let unwritten = 0

  const mayWrite = (): boolean => {
    const now = clock.now().getTime()
    const gained = Math.max(0, Math.floor((now - filledAt) / everyMs))
    left = Math.min(burst, left + gained)
    filledAt += gained * everyMs
    if (left === 0) return false
    left -= 1
    return true
  }

  return {
    /** @param isLocked no further attempt of the address is looked at for a while */
    async record(clientAddress: string, isLocked: boolean): Promise<void> {
      if (!mayWrite()) {
        unwritten += 1
        return
      }
      const details = {
        client_address: clientAddress,
        ...(isLocked ? { locked: true } : {}),
        ...(unwritten > 0 ? { unwritten } : {}),
      }
      unwritten = 0
      try {
        const event = {
          action: "sign_in_failed",
          actor: nobody,
          resourceType: "session",
          resourceId: "none",
          details,
        }
        await db.transaction((tx) => audit.append(tx, event))
      } catch (error) {
        // Whoever typed a wrong key is told so all the same.
        log.error("could not record a failed sign-in: {error}", { error })
      }
    },
  }
}

export type FailedSignIns = ReturnType<typeof failedSignIns>
