/**
 * The CAs whose keys certctl keeps: made once per issuer, sealed in the database, the same for every server on it.
 * What they sign is the local CA connector's business.
 */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { type Authority, createRootAuthority, openAuthority } from "../pki/authority"
import { type KeyType, privateKeyPem, readPrivateKey } from "../pki/keys"
import type { Sealer } from "../secrets/sealing"
import type { CaKeyStore } from "./ca-key.store"

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

export const heldAuthorityService = ({ db, caKeys, sealer, audit, clock, settings }: Deps) => {
  /** By issuer and key identifier: what a row says never changes. */
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

  const load = async (issuerId: string, ski: string): Promise<Authority> => {
    const known = opened.get(`${issuerId} ${ski}`)
    if (known !== undefined) return known
    const row = await caKeys.get(issuerId, ski)
    if (row === null)
      throw new AppError("conflict", `the CA key of issuer ${issuerId} has just been replaced; try again`)
    const pem = await sealer.unseal(row.encryptedKey, `CA key of issuer ${issuerId}`)
    const authority = openAuthority({
      certPem: row.certPem,
      chainPem: row.chainPem,
      privateKey: readPrivateKey(pem.toString("utf8")),
    })
    opened.set(`${issuerId} ${ski}`, authority)
    return authority
  }

  const open = async (issuerId: string, commonName: string): Promise<Authority> => {
    let ski = await caKeys.activeSki(issuerId)
    if (ski === null) {
      await make(issuerId, commonName)
      ski = await caKeys.activeSki(issuerId)
    }
    if (ski === null) throw new AppError("conflict", `issuer ${issuerId} has no CA key; it has just been deleted`)
    return load(issuerId, ski)
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

    /** Every CA the issuer has had, the one that signs now first (made on first use, unless it is given), then the newest. */
    async openAll(
      issuerId: string,
      options: { commonName?: string },
      signing: Authority | null,
    ): Promise<readonly Authority[]> {
      const active = signing ?? (await this.open(issuerId, options))
      const skis = await caKeys.skisOf(issuerId)
      const others = skis.filter((ski) => ski !== active.keyId.toString("hex"))
      return [active, ...(await Promise.all(others.map((ski) => load(issuerId, ski))))]
    },
  }
}

export type HeldAuthorityService = ReturnType<typeof heldAuthorityService>
