/**
 * Who signs OCSP answers: per CA key a certificate of its own (RFC 6960 section 4.2.2.2), so that the CA's key is left in
 * peace. Made at first use, the same for every server, replaced in time.
 */
import { systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db } from "../db/db"
import { AppError } from "../errors"
import type { Authority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { generateKey, privateKeyPem, readPrivateKey, spkiOf } from "../pki/keys"
import type { OcspResponder } from "../pki/ocsp"
import { signerFor } from "../pki/signature"
import type { Sealer } from "../secrets/sealing"
import type { ResponderRow, ResponderStore } from "./responder.store"

interface Deps {
  db: Pick<Db, "transaction">
  responders: ResponderStore
  sealer: Sealer
  audit: Pick<AuditService, "append">
  clock: Clock
  settings: { readonly validityMs: number; readonly rotationGraceMs: number }
}

const backdateMs = 5 * 60_000
const keyType = "ecdsa-p256"

export const responderService = ({ db, responders, sealer, audit, clock, settings }: Deps) => {
  const open = new Map<string, { responder: OcspResponder; notAfter: Date }>()
  const underWay = new Map<string, Promise<OcspResponder>>()

  /** A CA near its own end gives its responder less time, which must not make it due at once. */
  const isDue = ({ notBefore, notAfter }: Pick<ResponderRow, "notBefore" | "notAfter">): boolean => {
    const life = notAfter.getTime() - notBefore.getTime()
    return notAfter.getTime() - clock.now().getTime() < Math.min(settings.rotationGraceMs, life / 2)
  }

  /** A new key and certificate, unless another server was faster. */
  const make = async (issuerId: string, authority: Authority, former: ResponderRow | null): Promise<void> => {
    const now = clock.now()
    const privateKey = await generateKey(keyType)
    const certificate = await authority.sign({
      spkiDer: spkiOf(privateKey),
      subjectCommonName: `OCSP Responder for ${authority.commonName}`.slice(0, 64),
      sans: [],
      ekus: ["OCSPSigning"],
      notBefore: new Date(Math.max(now.getTime() - backdateMs, authority.notBefore.getTime())),
      notAfter: new Date(now.getTime() + settings.validityMs),
      ocspNoCheck: true,
    })
    const row: ResponderRow = {
      issuerId,
      caSki: authority.keyId.toString("hex"),
      certPem: certificate.certPem,
      certSerial: certificate.serial,
      encryptedKey: sealer.seal(privateKeyPem(privateKey)),
      keyAlg: keyType,
      notBefore: certificate.notBefore,
      notAfter: certificate.notAfter,
      rotatedFrom: former?.certSerial ?? null,
      createdAt: now,
      updatedAt: now,
    }
    await db.transaction(async (tx) => {
      const isOurs =
        former === null ? await responders.insert(tx, row) : await responders.replace(tx, row, former.certSerial)
      if (!isOurs) return
      await audit.append(tx, {
        action: former === null ? "ocsp_responder_created" : "ocsp_responder_rotated",
        actor: systemActor,
        resourceType: "issuer",
        resourceId: issuerId,
        details: { ca_ski: row.caSki, serial: row.certSerial, not_after: row.notAfter, rotated_from: row.rotatedFrom },
      })
    })
  }

  const load = async (issuerId: string, authority: Authority): Promise<OcspResponder> => {
    const ski = authority.keyId.toString("hex")
    let row = await responders.get(issuerId, ski)
    if (row === null || isDue(row)) {
      await make(issuerId, authority, row)
      row = await responders.get(issuerId, ski)
    }
    if (row === null) throw new AppError("conflict", `issuer ${issuerId} has just been deleted`)
    const pem = await sealer.unseal(row.encryptedKey, `OCSP responder key of issuer ${issuerId}`)
    const certificate = parseCertificate(row.certPem)
    const responder: OcspResponder = {
      keyId: Buffer.from(certificate.ski ?? "", "hex"),
      signer: signerFor(readPrivateKey(pem.toString("utf8"))),
      certificateDers: [certificate.der],
    }
    open.set(`${issuerId} ${ski}`, { responder, notAfter: row.notAfter })
    return responder
  }

  return {
    /** The responder of one CA of an issuer. Its row is asked again when its end comes near: another server may have replaced it. */
    async responderFor(issuerId: string, authority: Authority): Promise<OcspResponder> {
      const key = `${issuerId} ${authority.keyId.toString("hex")}`
      const known = open.get(key)
      const grace = Math.min(settings.rotationGraceMs, settings.validityMs / 2)
      if (known !== undefined && known.notAfter.getTime() - clock.now().getTime() > grace) return known.responder
      const running = underWay.get(key) ?? load(issuerId, authority).finally(() => underWay.delete(key))
      underWay.set(key, running)
      return running
    },
  }
}

export type ResponderService = ReturnType<typeof responderService>
