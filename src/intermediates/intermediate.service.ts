/**
 * Hierarchies of CAs: a root whose key stays in a file of the server's host, and CAs below it whose keys are made here and
 * sealed. Each is retired in two steps, so that nothing is cut off by one click.
 */
import { type Actor, actorName } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import { AppError } from "../errors"
import { openAuthorityFiles } from "../issuers/authority-files"
import type { CaKeyStore } from "../issuers/ca-key.store"
import { type Authority, openAuthority } from "../pki/authority"
import { parseCertificate } from "../pki/certificate"
import { type SubjectParts, writeSubject } from "../pki/distinguished-name"
import { generateKey, type KeyType, privateKeyPem, readPrivateKey, spkiOf } from "../pki/keys"
import { type NameConstraints, widened } from "../pki/name-constraints"
import { toPem } from "../pki/pem"
import { signSubordinate } from "../pki/subordinate"
import { verifyChain } from "../pki/trust"
import type { Sealer } from "../secrets/sealing"
import { canMove } from "./intermediate.machine"
import type { IntermediateRow, IntermediateStore } from "./intermediate.store"

interface Deps {
  db: Pick<Db, "transaction">
  cas: IntermediateStore
  caKeys: Pick<CaKeyStore, "insert" | "get">
  /** Fails with `not_found`. */
  findIssuer: (id: string) => Promise<{ readonly type: string; readonly hierarchyMode: "single" | "tree" }>
  /** Opens an encrypted root key file. */
  caKeyPassphrase: string | null
  sealer: Sealer
  audit: Pick<AuditService, "append">
  clock: Clock
  backdateMs: number
}

export interface NewRoot {
  readonly name: string
  readonly rootCertPem: string
  /** Path of its key file on the server's host. */
  readonly keyDriverId: string
  readonly metadata: Record<string, unknown>
}

export interface NewChild {
  readonly name: string
  readonly parentCaId: string
  readonly subject: SubjectParts
  readonly keyType: KeyType
  readonly ttlDays: number
  /** null: as many levels as the parent allows. */
  readonly pathLenConstraint: number | null
  readonly nameConstraints: NameConstraints
  readonly ocspResponderUrl: string
  readonly metadata: Record<string, unknown>
}

const dayMs = 86_400_000

const constraintsOf = ({ nameConstraints }: IntermediateRow): NameConstraints => ({
  permitted: nameConstraints.flatMap(({ permitted = [] }) => permitted),
  excluded: nameConstraints.flatMap(({ excluded = [] }) => excluded),
})

const notFound = (id: string) => new AppError("not_found", `intermediate CA ${id} does not exist`)

export const intermediateService = (deps: Deps) => {
  const { db, cas, caKeys, sealer, audit, clock } = deps
  /** By id: what a row says about its key never changes. Roots are read from their file each time. */
  const opened = new Map<string, Authority>()

  const demandHierarchy = async (issuerId: string): Promise<void> => {
    const { type } = await deps.findIssuer(issuerId)
    if (type !== "GenericCA") {
      throw new AppError("validation", `issuer ${issuerId} is of type ${type}: only a local CA has a hierarchy here`)
    }
  }

  const pathOf = (row: IntermediateRow, all: readonly IntermediateRow[]): IntermediateRow[] => {
    const path = [row]
    for (let parentId = row.parentCaId; parentId !== null; ) {
      const parent = all.find(({ id }) => id === parentId)
      if (parent === undefined || path.length > all.length) break
      path.push(parent)
      parentId = parent.parentCaId
    }
    return path
  }

  /** Its certificate and those above, without the root, which clients have. */
  const chainOf = (path: readonly IntermediateRow[]): string => {
    const below = path.filter(({ parentCaId }) => parentCaId !== null)
    return (below.length === 0 ? path : below).map(({ certPem }) => certPem).join("")
  }

  const openRootKey = (certPem: string, keyPath: string): Promise<Authority> =>
    openAuthorityFiles({ certPem, keyPath, passphrase: deps.caKeyPassphrase })

  const open = async (row: IntermediateRow, all: readonly IntermediateRow[]): Promise<Authority> => {
    if (row.parentCaId === null) return openRootKey(row.certPem, row.keyDriverId)
    const known = opened.get(row.id)
    if (known !== undefined) return known
    const key = await caKeys.get(row.owningIssuerId, row.ski)
    if (key === null) throw new AppError("internal", `the key of intermediate CA ${row.id} is missing`)
    const pem = await sealer.unseal(key.encryptedKey, `key of intermediate CA ${row.id}`)
    const authority: Authority = {
      ...openAuthority({
        certPem: row.certPem,
        chainPem: chainOf(pathOf(row, all)),
        privateKey: readPrivateKey(pem.toString("utf8")),
      }),
      ...(row.ocspResponderUrl === "" ? {} : { ocspUrls: [row.ocspResponderUrl] }),
    }
    opened.set(row.id, authority)
    return authority
  }

  const store = async (tx: Tx, row: IntermediateRow, actor: Actor, action: string): Promise<IntermediateRow> => {
    const inserted = await cas.insert(tx, row)
    if (inserted === null) {
      throw new AppError(
        "conflict",
        row.parentCaId === null
          ? `issuer ${row.owningIssuerId} has an active root already, or a CA with the name "${row.name}"`
          : `issuer ${row.owningIssuerId} has a CA with the name "${row.name}" already`,
      )
    }
    await audit.append(tx, {
      actor,
      action,
      resourceType: "intermediate_ca",
      resourceId: row.id,
      details: { owning_issuer_id: row.owningIssuerId, parent_ca_id: row.parentCaId, subject: row.subject },
    })
    return inserted
  }

  return {
    /** Newest first. Fails with `not_found`. */
    async list(issuerId: string): Promise<IntermediateRow[]> {
      await deps.findIssuer(issuerId)
      return cas.ofIssuer(issuerId)
    },

    async get(id: string): Promise<IntermediateRow> {
      const row = await cas.get(id)
      if (row === null) throw notFound(id)
      return row
    },

    /**
     * Registers a self-signed CA whose key lies in a file.
     * @throws AppError `not_found` the issuer; `validation` the certificate is no valid root; `upstream` the key file;
     *   `conflict` there is an active root, or the name is taken
     */
    async createRoot(issuerId: string, root: NewRoot, actor: Actor): Promise<IntermediateRow> {
      await demandHierarchy(issuerId)
      const facts = parseCertificate(root.rootCertPem)
      const now = clock.now()
      if (verifyChain(facts.der, [facts.der], now) !== null || !facts.isCa) {
        const problem = verifyChain(facts.der, [facts.der], now) ?? "it is not a CA certificate"
        throw new AppError("validation", `root_cert_pem must be a valid self-signed CA certificate: ${problem}`)
      }
      const authority = await openRootKey(facts.pem, root.keyDriverId)
      return db.transaction((tx) =>
        store(
          tx,
          {
            id: newId("ica-"),
            owningIssuerId: issuerId,
            parentCaId: null,
            name: root.name,
            subject: facts.subjectDn,
            ski: authority.keyId.toString("hex"),
            state: "active",
            certPem: facts.pem,
            keyDriverId: root.keyDriverId,
            notBefore: facts.notBefore,
            notAfter: facts.notAfter,
            pathLenConstraint: facts.pathLength,
            nameConstraints: [],
            ocspResponderUrl: "",
            metadata: root.metadata,
            createdAt: now,
            updatedAt: now,
          },
          actor,
          "intermediate_ca_root_created",
        ),
      )
    },

    /**
     * Makes a CA below another one of the same issuer.
     * @throws AppError `not_found`; `bad_reference` the parent; `validation` it would be allowed more than its parent;
     *   `conflict` the parent is not active, or the name is taken
     */
    async createChild(issuerId: string, child: NewChild, actor: Actor): Promise<IntermediateRow> {
      await demandHierarchy(issuerId)
      const all = await cas.ofIssuer(issuerId)
      const parent = all.find(({ id }) => id === child.parentCaId)
      if (parent === undefined) {
        throw new AppError(
          "bad_reference",
          `parent_ca_id must be a CA of issuer ${issuerId}; there is no ${child.parentCaId}`,
        )
      }
      const parentInactive = () => new AppError("conflict", `the parent CA ${parent.id} is not active`)
      if (parent.state !== "active") throw parentInactive()
      const levels = parent.pathLenConstraint
      if (levels === 0) throw new AppError("validation", "parent_ca_id must be a CA that allows others below it")
      const pathLength = child.pathLenConstraint ?? (levels === null ? null : levels - 1)
      if (levels !== null && pathLength !== null && pathLength >= levels) {
        throw new AppError("validation", `path_len_constraint must be below ${levels}, that of the parent`)
      }
      const outer = constraintsOf(parent)
      const tooWide = widened(child.nameConstraints, outer)
      if (tooWide !== null) {
        throw new AppError("validation", `name_constraints: the parent does not permit "${tooWide}"`)
      }
      const constraints: NameConstraints = {
        permitted: child.nameConstraints.permitted.length > 0 ? child.nameConstraints.permitted : outer.permitted,
        excluded: [...new Set([...outer.excluded, ...child.nameConstraints.excluded])],
      }
      const signing = await open(parent, all)
      const privateKey = await generateKey(child.keyType)
      const now = clock.now()
      const signed = await signSubordinate(signing, {
        spkiDer: spkiOf(privateKey),
        subjectDer: writeSubject(child.subject),
        notBefore: new Date(Math.max(now.getTime() - deps.backdateMs, signing.notBefore.getTime())),
        notAfter: new Date(now.getTime() + child.ttlDays * dayMs),
        pathLength,
        nameConstraints: constraints,
      })
      const facts = parseCertificate(signed.der)
      const ski = facts.ski ?? ""
      const above = pathOf(parent, all).filter(({ parentCaId }) => parentCaId !== null)
      const chainPem = [toPem("CERTIFICATE", signed.der), ...above.map(({ certPem }) => certPem)].join("")
      const encryptedKey = sealer.seal(privateKeyPem(privateKey))
      return db.transaction(async (tx) => {
        // The parent may have been retired while the key was made.
        if (!(await cas.isActive(tx, parent.id))) throw parentInactive()
        await caKeys.insert(tx, {
          issuerId,
          ski,
          certPem: signed.certPem,
          chainPem,
          encryptedKey,
          state: "subordinate",
          createdAt: now,
        })
        return store(
          tx,
          {
            id: newId("ica-"),
            owningIssuerId: issuerId,
            parentCaId: parent.id,
            name: child.name,
            subject: facts.subjectDn,
            ski,
            state: "active",
            certPem: signed.certPem,
            keyDriverId: `sealed:${ski}`,
            notBefore: signed.notBefore,
            notAfter: signed.notAfter,
            pathLenConstraint: pathLength,
            nameConstraints:
              constraints.permitted.length + constraints.excluded.length === 0
                ? []
                : [{ permitted: [...constraints.permitted], excluded: [...constraints.excluded] }],
            ocspResponderUrl: child.ocspResponderUrl,
            metadata: child.metadata,
            createdAt: now,
            updatedAt: now,
          },
          actor,
          "intermediate_ca_child_created",
        )
      })
    },

    /**
     * The first call makes it retiring: it signs nothing new. A second one with `confirm` ends it.
     * @throws AppError `not_found`; `conflict` it is retired already, or CAs below it are not
     */
    retire: (id: string, { note, confirm }: { note: string; confirm: boolean }, actor: Actor) =>
      db.transaction(async (tx) => {
        const row = await cas.get(id, tx)
        if (row === null) throw notFound(id)
        if (row.state === "retired") throw new AppError("conflict", `intermediate CA ${id} is retired already`)
        const to = row.state === "active" ? "retiring" : "retired"
        const decided = { id, decidedBy: actorName(actor), confirmed: to === "retired" }
        if (to === "retired" && !confirm) return { ...decided, confirmed: false }
        if (to === "retired" && (await cas.livingChildren(tx, id)) > 0) {
          throw new AppError("conflict", `intermediate CA ${id} has CAs below it that are not retired`)
        }
        if (!canMove(row.state, to) || !(await cas.setState(tx, id, row.state, to, clock.now()))) {
          throw new AppError("conflict", `intermediate CA ${id} was changed by somebody else; load it again`)
        }
        await audit.append(tx, {
          actor,
          action: `intermediate_ca_${to}`,
          resourceType: "intermediate_ca",
          resourceId: id,
          details: { note },
        })
        return decided
      }),

    /** The CA that signs leaves of an issuer in tree mode: the newest active one of the deepest. null: the issuer has no tree. */
    async signing(issuerId: string): Promise<Authority | null> {
      if ((await deps.findIssuer(issuerId)).hierarchyMode !== "tree") return null
      const all = await cas.ofIssuer(issuerId)
      const now = clock.now()
      let best: { row: IntermediateRow; depth: number } | null = null
      for (const row of all) {
        if (row.state !== "active" || row.notAfter <= now) continue
        const depth = pathOf(row, all).length
        if (best === null || depth > best.depth) best = { row, depth }
      }
      if (best === null) throw new AppError("upstream", `issuer ${issuerId} is in tree mode and has no active CA`)
      return open(best.row, all)
    },
  }
}

export type IntermediateService = ReturnType<typeof intermediateService>
