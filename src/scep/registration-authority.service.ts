/**
 * The registration authority (RA) of an issuer: an RSA key that SCEP clients encrypt to and that signs the answers, so that the
 * CA's key decrypts nothing and may be of any kind. Made at first use, sealed, the same for every server, replaced in time.
 */
import type { KeyObject } from "node:crypto"
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import type { Authority } from "../pki/authority"
import { type CertificateFacts, parseCertificate } from "../pki/certificate"
import { generateKey, privateKeyPem, readPrivateKey, spkiOf } from "../pki/keys"
import { oids } from "../pki/oids"
import { type Signer, signerFor } from "../pki/signature"
import type { Sealer } from "../secrets/sealing"
import type { RegistrationAuthorityRow, RegistrationAuthorityStore } from "./registration-authority.store"

export interface RegistrationAuthority {
  readonly certificate: CertificateFacts
  readonly privateKey: KeyObject
  readonly signer: Signer
}

interface Deps {
  db: Pick<Db, "transaction">
  authorities: RegistrationAuthorityStore
  sealer: Sealer
  audit: Pick<AuditService, "append">
  clock: Clock
}

const dayMs = 86_400_000
const validityMs = 365 * dayMs
/** Devices remember the RA's certificate: the former one works until its end, and they have this long to fetch the new one. */
const rotationGraceMs = 60 * dayMs
const backdateMs = 15 * 60_000

export const openRegistrationAuthority = (
  certificate: CertificateFacts,
  privateKey: KeyObject,
): RegistrationAuthority => ({
  certificate,
  privateKey,
  signer: signerFor(privateKey),
})

export const registrationAuthorityService = ({ db, authorities, sealer, audit, clock }: Deps) => {
  /** By issuer and serial: what a row says of a certificate never changes. */
  const opened = new Map<string, RegistrationAuthority>()
  const underWay = new Map<string, Promise<RegistrationAuthorityRow>>()

  /** A CA near its own end gives its RA less time, which must not make it due at once. */
  const isDue = (row: RegistrationAuthorityRow, ca: Authority): boolean => {
    const life = row.notAfter.getTime() - row.notBefore.getTime()
    const left = row.notAfter.getTime() - clock.now().getTime()
    return row.caSki !== ca.keyId.toString("hex") || left < Math.min(rotationGraceMs, life / 2)
  }

  /** A new key and certificate, unless another server was faster. */
  const make = async (issuerId: string, ca: Authority, former: RegistrationAuthorityRow | null): Promise<void> => {
    const now = clock.now()
    const privateKey = await generateKey("rsa-2048")
    const certificate = await ca.sign({
      spkiDer: spkiOf(privateKey),
      subjectCommonName: `SCEP RA for ${ca.commonName}`.slice(0, 64),
      sans: [],
      ekus: [oids.registrationAuthority],
      notBefore: new Date(Math.max(now.getTime() - backdateMs, ca.notBefore.getTime())),
      notAfter: new Date(now.getTime() + validityMs),
    })
    const row: RegistrationAuthorityRow = {
      issuerId,
      certSerial: certificate.serial,
      caSki: ca.keyId.toString("hex"),
      certPem: certificate.certPem,
      encryptedKey: sealer.seal(privateKeyPem(privateKey)),
      state: "current",
      notBefore: certificate.notBefore,
      notAfter: certificate.notAfter,
      createdAt: now,
    }
    await db.transaction(async (tx) => {
      if (!(await authorities.replace(tx, row, former?.certSerial ?? null))) return
      await authorities.dropExpired(tx, issuerId, now)
      await audit.append(tx, {
        action: former === null ? "scep_ra_created" : "scep_ra_rotated",
        actor: systemActor,
        resourceType: "issuer",
        resourceId: issuerId,
        details: {
          ca_ski: row.caSki,
          serial: row.certSerial,
          not_after: row.notAfter.toISOString(),
          rotated_from: former?.certSerial ?? null,
        },
      })
    })
  }

  const ensure = async (issuerId: string, ca: Authority): Promise<RegistrationAuthorityRow> => {
    let row = await authorities.current(issuerId)
    if (row === null || isDue(row, ca)) {
      await make(issuerId, ca, row)
      row = await authorities.current(issuerId)
    }
    if (row === null) throw new AppError("conflict", `issuer ${issuerId} has just been deleted`)
    return row
  }

  const open = async (row: RegistrationAuthorityRow): Promise<RegistrationAuthority> => {
    const key = `${row.issuerId} ${row.certSerial}`
    const known = opened.get(key)
    if (known !== undefined) return known
    const pem = await sealer.unseal(row.encryptedKey, `SCEP RA key of issuer ${row.issuerId}`)
    const ra = openRegistrationAuthority(parseCertificate(row.certPem), readPrivateKey(pem.toString("utf8")))
    opened.set(key, ra)
    return ra
  }

  const current = async (issuerId: string, ca: Authority): Promise<RegistrationAuthority> => {
    const running = underWay.get(issuerId) ?? ensure(issuerId, ca).finally(() => underWay.delete(issuerId))
    underWay.set(issuerId, running)
    return open(await running)
  }

  return {
    /** The RA that clients are told of, certified by the given CA of the issuer. */
    current,

    /** The RAs that clients may still encrypt to: the current one first, then former ones that have not expired. */
    async usable(issuerId: string, ca: Authority): Promise<readonly RegistrationAuthority[]> {
      const first = await current(issuerId, ca)
      const rows = await authorities.unexpired(issuerId, clock.now())
      const others = rows.filter(({ certSerial }) => certSerial !== first.certificate.serial)
      return [first, ...(await Promise.all(others.map(open)))]
    },
  }
}

export type RegistrationAuthorityService = ReturnType<typeof registrationAuthorityService>
