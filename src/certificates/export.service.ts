/** Hands out what was issued. Never a key: those stay where they were made. */
import { type Actor, actorName } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import { type CertificateFacts, parseCertificate } from "../pki/certificate"
import { certificateBlocks, toPem } from "../pki/pem"
import { buildTrustStore } from "../pki/trust-store"
import type { CertificateStore } from "./certificate.store"
import type { ExportStore } from "./export.store"
import type { VersionStore } from "./version.store"

interface Deps {
  db: Pick<Db, "transaction" | "read">
  certificates: Pick<CertificateStore, "get">
  versions: Pick<VersionStore, "newest">
  exports: ExportStore
  audit: Pick<AuditService, "append">
  clock: Clock
  /** Exports of one actor within an hour; 0: any number. */
  hourlyLimit: number
}

export interface ExportedPem {
  readonly certPem: string
  /** The rest of the chain, nearest issuer first; may be empty. */
  readonly chainPem: string
  readonly fullPem: string
}

const hourMs = 3_600_000

export const exportService = ({ db, certificates, versions, exports, audit, clock, hourlyLimit }: Deps) => {
  /** The newest version, leaf first. */
  const issued = async (id: string) => {
    const certificate = await certificates.get(id)
    if (certificate === null) throw new AppError("not_found", `certificate ${id} does not exist`)
    const version = await versions.newest(db.read, id)
    if (version === null) throw new AppError("not_found", `nothing was issued for certificate ${id} yet`)
    let chain: CertificateFacts[]
    try {
      chain = certificateBlocks(version.pemChain).map((der) => parseCertificate(der))
    } catch (cause) {
      throw new AppError("unprocessable", `what is stored for certificate ${id} is not X.509`, { cause })
    }
    const [leaf, ...rest] = chain
    if (leaf === undefined) {
      throw new AppError("unprocessable", `what is stored for certificate ${id} holds no certificate`)
    }
    return { certificate, version, leaf, rest }
  }

  /** Counts and records one export: both or neither. */
  const account = (id: string, serial: string, format: "pem" | "pkcs12", actor: Actor): Promise<void> =>
    db.transaction(async (tx) => {
      const now = clock.now()
      const since = new Date(now.getTime() - hourMs)
      const name = `exports of ${actor.type} ${actorName(actor)}`
      if (hourlyLimit > 0 && !(await exports.take(tx, name, hourlyLimit, now, since))) {
        throw new AppError("rate_limited", `no more than ${hourlyLimit} exports an hour; try again later`, {
          body: { error: "rate_limit_exceeded", retry_after_seconds: hourMs / 1000 },
        })
      }
      const common = {
        actor,
        resourceType: "certificate",
        resourceId: id,
        details: { serial, has_private_key: false },
      }
      // The second name is what audit queries written for other versions look for.
      await audit.append(tx, { ...common, action: `export_${format}` }, { ...common, action: `cert_export_${format}` })
    })

  return {
    /** @throws AppError `not_found` unknown, or nothing issued; `unprocessable`; `rate_limited` */
    async pem(id: string, actor: Actor): Promise<ExportedPem & { commonName: string }> {
      const { certificate, version, leaf, rest } = await issued(id)
      await account(id, version.serialNumber, "pem", actor)
      const certPem = leaf.pem
      const chainPem = rest.map(({ der }) => toPem("CERTIFICATE", der)).join("")
      return { commonName: certificate.commonName, certPem, chainPem, fullPem: certPem + chainPem }
    },

    /**
     * A PKCS#12 file of certificates to trust: the leaf and its chain, no key.
     * @throws AppError as `pem`
     */
    async pkcs12(id: string, password: string, actor: Actor): Promise<{ commonName: string; file: Buffer }> {
      const { certificate, version, leaf, rest } = await issued(id)
      await account(id, version.serialNumber, "pkcs12", actor)
      // keytool takes one entry for each alias.
      const used = new Set<string>()
      const aliased = [leaf, ...rest].map(({ der, commonName, serial }) => {
        const name = (commonName === "" ? serial : commonName).toLowerCase()
        const alias = used.has(name) ? `${name} ${serial}` : name
        used.add(alias)
        return { der, alias }
      })
      return { commonName: certificate.commonName, file: await buildTrustStore(aliased, password) }
    },
  }
}

export type ExportService = ReturnType<typeof exportService>
