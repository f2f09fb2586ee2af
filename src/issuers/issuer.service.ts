/** Issuers: the configured CAs, their sealed configuration, and the connectors opened from it. */
import { isDeepStrictEqual } from "node:util"
import { type Actor, systemActor } from "../access/actor"
import type { AuditService } from "../audit/audit.service"
import type { Clock } from "../clock"
import { parseConfig, secretKeysOf } from "../connectors/config"
import { issuerDefinition, issuerDefinitions } from "../connectors/issuers/catalog"
import type { Issuer, IssuerDefinition } from "../connectors/issuers/contract"
import { redactConfig, type StoredConfig, unmaskConfig } from "../connectors/stored-config"
import type { Db, Tx } from "../db/db"
import { newId } from "../db/ids"
import type { Slice, TextFilter } from "../db/listing"
import { explainRefusals } from "../db/refusals"
import { AppError, messageOf } from "../errors"
import { movedBetween } from "../health/connection-test.machine"
import type { Authority } from "../pki/authority"
import type { Sealer } from "../secrets/sealing"
import type { CaKeyStore } from "./ca-key.store"
import type { EnvironmentIssuer } from "./environment-issuers"
import type { IssuerRow, IssuerStore } from "./issuer.store"
import type { IssuerDepsFor } from "./issuer-deps"

const testTimeoutMs = 30_000
const typesWithOwnAuthority = issuerDefinitions.flatMap(({ type, inProcess }) => (inProcess ? [type] : []))

/** `tree`: leaves are signed by the deepest CA of the issuer's hierarchy. */
type HierarchyMode = "single" | "tree"

export interface NewIssuer {
  id?: string
  name: string
  /** Type or alias. */
  type: string
  config: StoredConfig
  enabled: boolean
  hierarchyMode?: HierarchyMode | undefined
}

export interface IssuerPatch {
  name?: string
  type?: string
  /** Replaces the whole configuration; masked secrets keep their stored value. */
  config?: StoredConfig
  enabled?: boolean
  hierarchyMode?: HierarchyMode | undefined
}

export interface OpenIssuer {
  readonly type: string
  readonly definition: IssuerDefinition
  /** `issue` has no effect outside this process. */
  readonly inProcess: boolean
  readonly connector: Issuer
}

interface Deps {
  db: Pick<Db, "transaction">
  issuers: IssuerStore
  caKeys: Pick<CaKeyStore, "removeAll">
  sealer: Sealer
  audit: Pick<AuditService, "append">
  clock: Clock
  depsFor: IssuerDepsFor
  fromEnvironment: readonly EnvironmentIssuer[]
}

/** Only a CA whose keys are held here can have others below it. */
const demandHierarchy = ({ type, inProcess }: IssuerDefinition, mode: HierarchyMode | undefined): void => {
  if (mode === "tree" && !inProcess)
    throw new AppError("validation", `hierarchy_mode must be single for an issuer of type ${type}`)
}

const notFound = (id: string) => new AppError("not_found", `issuer ${id} does not exist`)
const nameTaken = (name: string | undefined, id?: string) =>
  new AppError("conflict", `an issuer with the name "${name}"${id ? ` or the id "${id}"` : ""} exists already`)

const withinTestTime = async (work: Promise<void>): Promise<void> => {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new AppError("upstream", "no answer within 30 seconds")), testTimeoutMs)
  })
  try {
    await Promise.race([work, tooLate])
  } finally {
    clearTimeout(timer)
  }
}

export const issuerService = ({ db, issuers, caKeys, sealer, audit, clock, depsFor, fromEnvironment }: Deps) => {
  /** By issuer id. Sealing never gives the same bytes twice, so equal bytes are an unchanged configuration. */
  const open = new Map<string, OpenIssuer & { sealed: Buffer | null }>()

  const get = async (id: string): Promise<IssuerRow> => {
    const issuer = await issuers.get(id)
    if (issuer === null) throw notFound(id)
    return issuer
  }

  const fullConfig = async (row: IssuerRow): Promise<StoredConfig> =>
    row.encryptedConfig === null
      ? row.config
      : ((await sealer.unsealJson(row.encryptedConfig, `configuration of issuer ${row.id}`)) as StoredConfig)

  const atRest = (definition: IssuerDefinition, config: StoredConfig) => ({
    config: redactConfig(config, secretKeysOf(definition.config)),
    encryptedConfig: sealer.sealJson(config),
  })

  const connect = async (row: IssuerRow): Promise<OpenIssuer> => {
    const definition = issuerDefinition(row.type)
    const connector = definition.open(await fullConfig(row), depsFor(row.id))
    return { type: definition.type, definition, inProcess: definition.inProcess, connector }
  }

  const opened = async (row: IssuerRow): Promise<OpenIssuer> => {
    const { id } = row
    const sealed = row.encryptedConfig
    const known = open.get(id)
    const isCurrent = known?.type === row.type && known.sealed !== null && sealed?.equals(known.sealed)
    if (known !== undefined && isCurrent) return known
    const fresh = { ...(await connect(row)), sealed }
    open.set(id, fresh)
    return fresh
  }

  const connectorFor = async (id: string): Promise<OpenIssuer> => {
    const row = await get(id)
    if (!row.enabled) throw new AppError("invalid_state", `issuer ${row.name} (${id}) is disabled`)
    return opened(row)
  }

  /** Columns of a changed configuration; throws `validation` when the connector would not take it. */
  const changedConfig = async (from: IssuerRow, patch: IssuerPatch) => {
    const definition = issuerDefinition(patch.type ?? from.type)
    const declared = secretKeysOf(definition.config)
    const stored = await fullConfig(from)
    const config = unmaskConfig(patch.config ?? redactConfig(stored, declared), stored, {
      sameReceiver: definition.type === from.type,
      declared,
    })
    parseConfig(definition.config, config)
    return { type: definition.type, ...atRest(definition, config) }
  }

  const insertFromEnvironment = async (tx: Tx): Promise<void> => {
    const now = clock.now()
    for (const { id, name, type, config } of fromEnvironment) {
      const row: IssuerRow = {
        id,
        name,
        type,
        ...atRest(issuerDefinition(type), config),
        encryptedState: null,
        enabled: true,
        lastTestedAt: null,
        testStatus: "untested",
        source: "env",
        hierarchyMode: "single",
        degradedSince: null,
        degradedReason: null,
        createdAt: now,
        updatedAt: now,
      }
      if ((await issuers.insert(tx, row)) === null) continue
      await audit.append(tx, { action: "create_issuer", actor: systemActor, resourceType: "issuer", resourceId: id })
    }
  }

  const followEnvironment = async (): Promise<void> => {
    for (const row of await issuers.fromEnvironment()) {
      const described = fromEnvironment.find(({ id }) => id === row.id)
      if (described === undefined || isDeepStrictEqual(await fullConfig(row), described.config)) continue
      const columns = atRest(issuerDefinition(described.type), described.config)
      await db.transaction(async (tx) => {
        const before = await issuers.lock(tx, row.id)
        const patch = { ...columns, testStatus: "untested" as const, updatedAt: clock.now() }
        // Another server that started at the same moment may have been faster.
        if (before === null || (await issuers.replaceConfig(tx, row, patch)) === null) return
        await audit.append(tx, {
          action: "update_issuer",
          actor: systemActor,
          resourceType: "issuer",
          resourceId: row.id,
          details: { changed: ["config"], ...movedBetween(before.testStatus, "untested") },
        })
      })
    }
  }

  return {
    get,
    connectorFor,
    insertFromEnvironment,

    /**
     * The CAs of an issuer whose keys are held here, the signing one first; empty where somebody else publishes revocation.
     * A disabled issuer issues nothing more, but what it issued can still be revoked.
     */
    async authoritiesOf(id: string): Promise<readonly Authority[]> {
      const { connector } = await opened(await get(id))
      return (await connector.authorities?.()) ?? []
    },

    /** Newest first. `total` counts all issuers that match. */
    async list(filter: TextFilter, slice: Slice) {
      const [rows, total] = await Promise.all([issuers.list(filter, slice), issuers.total(filter)])
      return { rows, total }
    },

    /**
     * For the start of a server: rows made from the environment take over what the variables say now, and those that sign
     * themselves open their CA, which makes it when there is none. Throws when one cannot sign.
     */
    async start(): Promise<void> {
      await followEnvironment()
      for (const row of await issuers.fromEnvironment()) {
        if (!row.enabled || !issuerDefinition(row.type).inProcess) continue
        const { connector } = await connectorFor(row.id)
        await connector.testConnection()
      }
    },

    /** Fails with `validation` when the type is unknown or its connector does not take the configuration. */
    async create({ id, name, type, config, enabled, hierarchyMode }: NewIssuer, actor: Actor): Promise<IssuerRow> {
      const definition = issuerDefinition(type)
      demandHierarchy(definition, hierarchyMode)
      const declared = secretKeysOf(definition.config)
      const full = unmaskConfig(config, null, { sameReceiver: false, declared })
      parseConfig(definition.config, full)
      const now = clock.now()
      const row: IssuerRow = {
        id: id ?? newId("iss-"),
        name,
        type: definition.type,
        ...atRest(definition, full),
        encryptedState: null,
        enabled,
        lastTestedAt: null,
        testStatus: "untested",
        source: "database",
        hierarchyMode: hierarchyMode ?? "single",
        degradedSince: null,
        degradedReason: null,
        createdAt: now,
        updatedAt: now,
      }
      return db.transaction(async (tx) => {
        const issuer = await issuers.insert(tx, row)
        if (issuer === null) throw nameTaken(name, id)
        await audit.append(tx, { action: "create_issuer", actor, resourceType: "issuer", resourceId: issuer.id })
        return issuer
      })
    },

    /** Keys that are absent keep their value. The issuer no longer follows the environment afterwards. */
    async update(id: string, patch: IssuerPatch, actor: Actor): Promise<IssuerRow> {
      const from = await get(id)
      const changesConfig =
        patch.config !== undefined || (patch.type !== undefined && issuerDefinition(patch.type).type !== from.type)
      demandHierarchy(issuerDefinition(patch.type ?? from.type), patch.hierarchyMode)
      const columns = changesConfig ? await changedConfig(from, patch) : {}
      return explainRefusals({ duplicate: () => nameTaken(patch.name) }, () =>
        db.transaction(async (tx) => {
          const before = await issuers.lock(tx, id)
          if (before === null) throw notFound(id)
          const values = {
            name: patch.name,
            enabled: patch.enabled,
            ...columns,
            testStatus: "untested" as const,
            source: "database" as const,
            hierarchyMode: patch.hierarchyMode,
            updatedAt: clock.now(),
          }
          const issuer = changesConfig
            ? await issuers.replaceConfig(tx, from, values)
            : await issuers.update(tx, id, values)
          if (issuer === null) {
            throw changesConfig
              ? new AppError("conflict", `issuer ${id} was changed by somebody else meanwhile; load it again`)
              : notFound(id)
          }
          await audit.append(tx, {
            action: "update_issuer",
            actor,
            resourceType: "issuer",
            resourceId: id,
            details: { changed: Object.keys(patch), ...movedBetween(before.testStatus, "untested") },
          })
          return issuer
        }),
      )
    },

    /** Fails with `conflict` while certificates use it. Its own CA, which has signed nothing then, goes with it. */
    remove: (id: string, actor: Actor): Promise<void> =>
      explainRefusals({ reference: () => new AppError("conflict", `issuer ${id} is still used by certificates`) }, () =>
        db.transaction(async (tx) => {
          await caKeys.removeAll(tx, id)
          if (!(await issuers.remove(tx, id))) throw notFound(id)
          await audit.append(tx, { action: "delete_issuer", actor, resourceType: "issuer", resourceId: id })
        }),
      ),

    /**
     * PEM of the issuer's own certificates, issuing CA first.
     * @throws AppError `not_found`; `invalid_state` disabled; `not_supported` the connector does not tell them
     */
    async caChainOf(id: string): Promise<string> {
      const { connector, type } = await connectorFor(id)
      if (connector.caChain === undefined) {
        throw new AppError("not_supported", `issuer ${id} (${type}) does not tell its CA certificates`)
      }
      return connector.caChain()
    },

    /** Issuers that may hold the key of a CA of their own. */
    idsWithOwnAuthority: (): Promise<string[]> => issuers.idsOfTypes(typesWithOwnAuthority),

    /** Asks the connector whether it could issue now, and records the outcome. Fails with `upstream` and the reason. */
    async test(id: string, actor: Actor): Promise<void> {
      const row = await get(id)
      // A connector of its own: a test must not use, or spoil, what issuance has open.
      const failure = await connect(row)
        .then(({ connector }) => withinTestTime(connector.testConnection()))
        .then(
          () => null,
          (error: unknown) => error ?? new Error("unknown reason"),
        )
      const testStatus = failure === null ? "success" : "failed"
      await db.transaction(async (tx) => {
        const before = await issuers.lock(tx, id)
        if (before === null) throw notFound(id)
        // The outcome is that of the configuration that was tested, not of one that somebody saved meanwhile.
        if ((await issuers.replaceConfig(tx, row, { testStatus, lastTestedAt: clock.now() })) === null) {
          throw new AppError("conflict", `issuer ${id} was changed while it was tested; test it again`)
        }
        const action = `issuer_test_connection_${testStatus}`
        const details = movedBetween(before.testStatus, testStatus)
        await audit.append(tx, { action, actor, resourceType: "issuer", resourceId: id, details })
      })
      if (failure !== null) {
        throw new AppError("upstream", `issuer ${row.name} cannot be used: ${messageOf(failure)}`, { cause: failure })
      }
    },
  }
}

export type IssuerService = ReturnType<typeof issuerService>
