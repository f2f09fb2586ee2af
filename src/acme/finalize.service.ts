/**
 * From a ready order to its certificate (RFC 8555 section 7.4). The order keeps the CSR from the moment it is accepted, so that
 * whatever interrupts the issuing, asking again goes on with it: nothing is issued twice.
 */
import type { AuditService } from "../audit/audit.service"
import type { Enrolment, EnrolmentService } from "../certificates/enrolment.service"
import type { VersionRow, VersionStore } from "../certificates/version.store"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError, messageOf } from "../errors"
import { type Csr, parseCsr, parseCsrDer } from "../pki/csr"
import { spkiOf } from "../pki/keys"
import { toPem } from "../pki/pem"
import { parseInput } from "../server/validation"
import type { AccountRow } from "./account.store"
import { acmeProblem, storedProblem } from "./acme.problem"
import { FinalizePayload } from "./acme.schema"
import { acmeActor } from "./acme-actor"
import { type Door, demandIssuing } from "./door"
import { demandSameNames, leadingName } from "./identifiers"
import { readStoredKey } from "./jwk"
import { decodeBase64url } from "./jws"
import type { OrderService } from "./order.service"
import type { OrderRow, OrderStore } from "./order.store"
import type { VerifiedAccount } from "./request.service"

interface Deps {
  db: Pick<Db, "transaction">
  orders: OrderStore
  own: OrderService["own"]
  versions: Pick<VersionStore, "get">
  enrolments: Pick<EnrolmentService, "check" | "enrol">
  audit: Pick<AuditService, "append">
  clock: Clock
}

/** An order that waits for its issuer is taken up again by a client's question after this long at the earliest. */
const retryAfterMs = 5_000

const readCsr = (csr: string): Csr => {
  try {
    return parseCsrDer(decodeBase64url(csr, "csr"))
  } catch (error) {
    if (error instanceof AppError) throw acmeProblem("badCSR", error.message, { cause: error })
    throw error
  }
}

export const finalizeService = (deps: Deps) => {
  const { db, orders, versions, enrolments, audit, clock } = deps

  const enrolmentOf = (door: Door, account: AccountRow, order: OrderRow, csr: Csr): Enrolment => ({
    source: "ACME",
    issuerId: door.issuerId,
    profileId: door.profile.id,
    csr: { ...csr, commonName: csr.commonName || leadingName(order.identifiers.map(({ value }) => value)) },
    actor: acmeActor(account.id),
    event: {
      action: "acme_order_finalized",
      resource: { type: "acme_order", id: order.id },
      details: { identifiers: order.identifiers.map(({ value }) => value), profile_id: door.profile.id },
    },
    holder: {
      id: account.id,
      ownerId: account.ownerId,
      owned: (tx, ids) => orders.certificatesOf(tx, account.id, ids),
      isTaken: (tx, versionId) => orders.isTaken(tx, versionId, order.id),
      onCertificate: (tx, certificateId) => orders.setCertificate(tx, order.id, certificateId),
      async onIssued(tx, versionId) {
        const isMoved = await orders.move(tx, order.id, "valid", { versionId, updatedAt: clock.now() })
        if (!isMoved) throw new AppError("conflict", `order ${order.id} is no longer processing`)
      },
    },
  })

  const fail = async (account: AccountRow, order: OrderRow, error: unknown): Promise<void> => {
    const isRule = error instanceof AppError && error.code === "validation"
    // The issuer's words are for the administrator.
    const problem = isRule
      ? storedProblem("badCSR", error.message)
      : storedProblem("serverInternal", "the issuer did not issue the certificate")
    await db.transaction(async (tx) => {
      if (!(await orders.move(tx, order.id, "invalid", { error: problem, updatedAt: clock.now() }))) return
      await audit.append(tx, {
        actor: acmeActor(account.id),
        action: "acme_order_failed",
        resourceType: "acme_order",
        resourceId: order.id,
        details: { reason: error instanceof AppError ? messageOf(error) : "internal error" },
      })
    })
  }

  /** Issues for an order that is processing. Comes back when it is valid or invalid, or when the issuer needs longer. */
  const issue = async (door: Door, account: AccountRow, order: OrderRow, csr: Csr): Promise<void> => {
    try {
      await enrolments.enrol(enrolmentOf(door, account, order, csr))
    } catch (error) {
      // Another request for the order was first, or the CA decides later.
      if (error instanceof AppError && ["unavailable", "conflict", "rate_limited"].includes(error.code)) return
      await fail(account, order, error)
      if (!(error instanceof AppError)) throw error
    }
  }

  /** Proven names go stale: an authorization that was given up or has expired must not be issued from. */
  const demandAuthorized = async (door: Door, order: OrderRow): Promise<void> => {
    const now = clock.now()
    const parts = await orders.authorizationsOf(order.id)
    if (parts.some(({ status, expiresAt }) => status !== "valid" || expiresAt <= now)) {
      throw acmeProblem("unauthorized", "an authorization of this order is no longer valid")
    }
    // Ordered while the profile trusted everybody, which it does no more.
    if (door.mode === "challenge" && !(await orders.isProven(order.id))) {
      throw acmeProblem("unauthorized", "the names of this order were never proven: order again")
    }
  }

  const again = (account: AccountRow, order: OrderRow): Promise<OrderRow> => deps.own(account, order.id)

  return {
    /** @throws AppError `orderNotReady`, `badCSR`, `unauthorized` */
    async finalize(door: Door, { account, payload }: VerifiedAccount, id: string): Promise<OrderRow> {
      const order = await deps.own(account, id)
      const asked = await parseInput(FinalizePayload, payload ?? {}, "payload")
      const csr = readCsr(asked.csr)
      const csrPem = toPem("CERTIFICATE REQUEST", csr.der)
      // The answer was lost, and the client asks again.
      if (order.csrPem === csrPem && order.status !== "invalid") return order
      if (order.status !== "ready" || order.expiresAt <= clock.now()) {
        throw acmeProblem(
          "orderNotReady",
          order.status === "ready" ? "the order has expired" : `the order is ${order.status}`,
        )
      }
      demandIssuing(door)
      demandSameNames(csr, order.identifiers)
      if (csr.spkiDer.equals(spkiOf(readStoredKey(account.jwkPem)))) {
        throw acmeProblem("badCSR", "the CSR must not have the account's key")
      }
      await demandAuthorized(door, order)
      try {
        await enrolments.check(enrolmentOf(door, account, order, csr))
      } catch (error) {
        if (error instanceof AppError && error.code === "validation")
          throw acmeProblem("badCSR", error.message, { cause: error })
        throw error
      }
      await db.transaction(async (tx) => {
        const isMoved = await orders.move(tx, id, "processing", { csrPem, updatedAt: clock.now() })
        if (!isMoved) throw acmeProblem("orderNotReady", "the order is being finalized already")
      })
      await issue(door, account, order, csr)
      return again(account, order)
    },

    /** Reads an order; one that waits for its issuer is taken up again. */
    async look(door: Door, { account }: VerifiedAccount, id: string): Promise<OrderRow> {
      const order = await deps.own(account, id)
      if (order.status !== "processing" || order.csrPem === null) return order
      const now = clock.now()
      if (now.getTime() - order.updatedAt.getTime() < retryAfterMs) return order
      if (!(await db.transaction((tx) => orders.claimProcessing(tx, order, now)))) return order
      await issue(door, account, order, parseCsr(order.csrPem))
      return again(account, order)
    },

    /** @throws AppError `malformed` (404) there is none, `unauthorized` it is another account's */
    async certificate({ account }: VerifiedAccount, versionId: string): Promise<VersionRow> {
      const order = await orders.ofVersion(versionId)
      const version = order === null ? null : await versions.get(versionId)
      if (order === null || version === null) {
        throw acmeProblem("malformed", "there is no such certificate", { code: "not_found" })
      }
      if (order.accountId !== account.id) throw acmeProblem("unauthorized", "the certificate is another account's")
      return version
    },
  }
}

export type FinalizeService = ReturnType<typeof finalizeService>
