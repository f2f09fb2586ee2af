/**
 * The CAs whose keys certctl keeps: made once per issuer, sealed in the database, the same for every server on it.
 * What they sign is the local CA connector's business.
 */
import { type Actor, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { type Authority, createRootAuthority, createRootNamed, openAuthority } from "../pki/authority"
import { type KeyType, privateKeyPem, readPrivateKey } from "../pki/keys"
import { signSubordinate } from "../pki/subordinate"
import type { Sealer } from "../secrets/sealing"
import type { CaKey, CaKeyRow, CaKeyStore } from "./ca-key.store"

/** How a CA is made when there is none yet. */
export interface AuthoritySettings {
  readonly keyType: KeyType
  readonly commonName: string
  readonly organization: string | null
  readonly validityMs: number
  readonly backdateMs: number
}

interface Deps {
  db: Pick<Db, "transaction">
  caKeys: CaKeyStore
  sealer: Sealer
  audit: Pick<AuditService, "append">
  clock: Clock
  settings: AuthoritySettings
}

type CrlUrls = (authority: Authority) => readonly string[]

const crossCertify = (
  issuer: Authority,
  { spkiDer, subjectDer }: Authority,
  more: { notBefore: Date; notAfter: Date; crlUrls: readonly string[] },
) =>
  signSubordinate(issuer, {
    spkiDer,
    subjectDer,
    ...more,
    pathLength: null,
    nameConstraints: { permitted: [], excluded: [] },
  })

/** As long as both are valid. */
const certifyEachOther = async (old: Authority, fresh: Authority, crlUrls: CrlUrls) => {
  const notAfter = new Date(Math.min(old.notAfter.getTime(), fresh.notAfter.getTime()))
  const latestStart = new Date(Math.max(old.notBefore.getTime(), fresh.notBefore.getTime()))
  const [newWithOld, oldWithNew] = await Promise.all([
    crossCertify(old, fresh, { notBefore: latestStart, notAfter, crlUrls: crlUrls(old) }),
    // Certificates that the former signed long ago are within it.
    crossCertify(fresh, old, { notBefore: old.notBefore, notAfter, crlUrls: crlUrls(fresh) }),
  ])
  return { newWithOld, oldWithNew }
}

/** Of roots that lead to one another, newest first. */
const bridged = (rows: readonly CaKeyRow[]): { chainPem: string; anchorsPem: string } => {
  const between = rows.slice(0, -1)
  return {
    // Each certified by the next, as RFC 8446 section 4.4.2 wants it; who trusts a newer root stops at its key.
    chainPem: [...between.map(({ newWithOldPem }) => newWithOldPem), rows.at(-1)?.certPem].join(""),
    // RFC 7030 section 4.1.3.
    anchorsPem: [
      ...rows.map(({ certPem }) => certPem),
      ...between.flatMap(({ newWithOldPem, oldWithNewPem }) => [newWithOldPem, oldWithNewPem]),
    ].join(""),
  }
}

export const heldAuthorityService = ({ db, caKeys, sealer, audit, clock, settings }: Deps) => {
  /** By issuer, key identifier and those of the keys that lead to it: what rows say of them never changes. */
  const opened = new Map<string, Authority>()
  const underWay = new Map<string, Promise<Authority>>()

  /** Makes a CA unless another server was faster: the partial unique index lets one insert win. */
  const make = async (issuerId: string, commonName: string): Promise<void> => {
    const now = clock.now()
    const { certPem, privateKey } = await createRootAuthority({
      keyType: settings.keyType,
      commonName,
      organization: settings.organization ?? undefined,
      notBefore: new Date(now.getTime() - settings.backdateMs),
      notAfter: new Date(now.getTime() + settings.validityMs),
    })
    const { keyId } = openAuthority({ certPem, chainPem: certPem, privateKey })
    const ski = keyId.toString("hex")
    const encryptedKey = sealer.seal(privateKeyPem(privateKey))
    await db.transaction(async (tx) => {
      const row = { issuerId, ski, certPem, chainPem: certPem, encryptedKey, state: "active" as const, createdAt: now }
      if (!(await caKeys.insert(tx, row))) return
      await audit.append(tx, {
        action: "ca_key_created",
        actor: systemActor,
        resourceType: "issuer",
        resourceId: issuerId,
        details: { ski, key_type: settings.keyType },
      })
    })
  }

  const rowOf = async (issuerId: string, ski: string): Promise<CaKeyRow> => {
    const row = await caKeys.get(issuerId, ski)
    if (row === null)
      throw new AppError("conflict", `the CA key of issuer ${issuerId} has just been replaced; try again`)
    return row
  }

  /** The key and those before it that clients may still be trusting alone. */
  const bridgeFrom = (ski: string, keys: readonly CaKey[]): string[] => {
    const now = clock.now()
    const path = [ski]
    for (let at = ski; path.length <= keys.length; ) {
      const key = keys.find((one) => one.ski === at)
      if (!key?.formerSki || key.bridgedUntil === null || key.bridgedUntil <= now) break
      at = key.formerSki
      path.push(at)
    }
    return path
  }

  const load = async (issuerId: string, ski: string, keys: readonly CaKey[]): Promise<Authority> => {
    const path = bridgeFrom(ski, keys)
    const id = [issuerId, ...path].join(" ")
    const known = opened.get(id)
    if (known !== undefined) return known
    const row = await rowOf(issuerId, ski)
    const pem = await sealer.unseal(row.encryptedKey, `CA key of issuer ${issuerId}`)
    const privateKey = readPrivateKey(pem.toString("utf8"))
    const alone = openAuthority({ certPem: row.certPem, chainPem: row.chainPem, privateKey })
    const former = await Promise.all(path.slice(1).map((one) => rowOf(issuerId, one)))
    const authority = former.length === 0 ? alone : { ...alone, ...bridged([row, ...former]) }
    opened.set(id, authority)
    return authority
  }

  const signingKey = (keys: readonly CaKey[]): CaKey | undefined => keys.find(({ state }) => state === "active")

  const open = async (issuerId: string, commonName: string): Promise<Authority> => {
    let keys = await caKeys.ofIssuer(issuerId)
    if (signingKey(keys) === undefined) {
      await make(issuerId, commonName)
      keys = await caKeys.ofIssuer(issuerId)
    }
    const active = signingKey(keys)
    if (active === undefined)
      throw new AppError("conflict", `issuer ${issuerId} has no CA key; it has just been deleted`)
    return load(issuerId, active.ski, keys)
  }

  return {
    /**
     * The issuer's CA, made on first use under `commonName`. The database is asked each time which key is the active one, so
     * that a roll-over on another server is seen at once.
     */
    open(issuerId: string, { commonName = settings.commonName }: { commonName?: string } = {}): Promise<Authority> {
      const running = underWay.get(issuerId)
      if (running !== undefined) return running
      const opening = open(issuerId, commonName).finally(() => underWay.delete(issuerId))
      underWay.set(issuerId, opening)
      return opening
    },

    /**
     * Every CA the issuer has had, the one that signs now first (made on first use, unless it is given), then the newest. Without
     * those that have expired: so has everything that they signed.
     */
    async openAll(
      issuerId: string,
      options: { commonName?: string },
      signing: Authority | null,
    ): Promise<readonly Authority[]> {
      const active = signing ?? (await this.open(issuerId, options))
      const keys = await caKeys.ofIssuer(issuerId)
      const others = keys.filter(({ ski }) => ski !== active.keyId.toString("hex"))
      const all = await Promise.all(others.map(({ ski }) => load(issuerId, ski, keys)))
      return [active, ...all.filter(({ notAfter }) => notAfter > clock.now())]
    },

    /**
     * Makes a new root of the same name, certified by the signing one and certifying it (RFC 4210 section 4.4), which signs from
     * now on. The former one goes on signing what tells of revocations. `crlUrls`: where that of the former one is published.
     * From one that has expired nothing leads on.
     * @throws AppError `conflict` there is no root yet, or another roll-over was faster
     */
    async rollOver(
      issuerId: string,
      { keyType = settings.keyType, crlUrls }: { keyType?: KeyType | undefined; crlUrls: CrlUrls },
      actor: Actor,
    ): Promise<void> {
      const keys = await caKeys.ofIssuer(issuerId)
      const former = signingKey(keys)
      if (former === undefined) {
        throw new AppError("conflict", `issuer ${issuerId} has no root yet: it is made when it first issues`)
      }
      const old = await load(issuerId, former.ski, keys)
      const now = clock.now()
      const { certPem, privateKey } = await createRootNamed({
        keyType,
        subjectDer: old.subjectDer,
        notBefore: new Date(now.getTime() - settings.backdateMs),
        notAfter: new Date(now.getTime() + settings.validityMs),
      })
      const fresh = openAuthority({ certPem, chainPem: certPem, privateKey })
      const ski = fresh.keyId.toString("hex")
      const between = old.notAfter > now ? await certifyEachOther(old, fresh, crlUrls) : null
      const row = {
        issuerId,
        ski,
        certPem,
        chainPem: certPem,
        encryptedKey: sealer.seal(privateKeyPem(privateKey)),
        state: "active" as const,
        formerSki: former.ski,
        newWithOldPem: between?.newWithOld.certPem ?? null,
        oldWithNewPem: between?.oldWithNew.certPem ?? null,
        bridgedUntil: between?.newWithOld.notAfter ?? null,
        createdAt: now,
      }
      await db.transaction(async (tx) => {
        if (!(await caKeys.retire(tx, issuerId, former.ski)) || !(await caKeys.insert(tx, row))) {
          throw new AppError("conflict", `the root of issuer ${issuerId} was rolled over by somebody else meanwhile`)
        }
        await audit.append(tx, {
          action: "ca_key_rolled_over",
          actor,
          resourceType: "issuer",
          resourceId: issuerId,
          details: { ski, former_ski: former.ski, key_type: keyType },
        })
      })
    },

    /**
     * For when no client is left that trusts only this former root: what leads from it to its successor is handed out no more.
     * It goes on signing what tells of revocations.
     * @throws AppError `not_found`; `conflict` it signs, or nothing leads from it any more
     */
    async retire(issuerId: string, ski: string, actor: Actor): Promise<void> {
      const key = (await caKeys.ofIssuer(issuerId)).find((one) => one.ski === ski && one.state !== "subordinate")
      if (key === undefined) throw new AppError("not_found", `issuer ${issuerId} has no root ${ski}`)
      if (key.state === "active") {
        throw new AppError("conflict", `root ${ski} signs for issuer ${issuerId}; roll it over first`)
      }
      await db.transaction(async (tx) => {
        if (!(await caKeys.endBridge(tx, issuerId, ski, clock.now()))) {
          throw new AppError("conflict", `root ${ski} of issuer ${issuerId} is retired already`)
        }
        await audit.append(tx, {
          action: "ca_key_retired",
          actor,
          resourceType: "issuer",
          resourceId: issuerId,
          details: { ski },
        })
      })
    },
  }
}

export type HeldAuthorityService = ReturnType<typeof heldAuthorityService>
