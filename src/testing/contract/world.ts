/** What exists on a server under test: rows made through its API, and the states that a recipe brings them into. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import fc from "fast-check"
import { createRootAuthority } from "../../pki/authority"
import { buildCsr } from "../../pki/csr"
import { generateKey, privateKeyPem } from "../../pki/keys"
import type { ContractDocument, DocumentedOperation } from "./document"
import { type Sources, valuesOf } from "./generate"
import { type Answer, readAnswer, type Send } from "./server"

export interface Setup {
  readonly document: ContractDocument
  readonly send: Send
  readonly adminKey: string
  /** For files that the server reads. */
  readonly folder: string
  /** Repeats a run. */
  readonly seed: number
}

export interface AgentInHand {
  readonly id: string
  readonly key: string
}

export const base = "/api/v1"

/** By collection: what a schema alone does not say about a valid body, or what would keep a certificate from being issued. */
const completions: Readonly<Record<string, object>> = {
  issuers: { type: "GenericCA", config: {}, enabled: true, hierarchy_mode: undefined },
  targets: {
    deployment_windows: null,
    type: "NGINX",
    config: { cert_path: "/etc/tls/a.pem", key_path: "/etc/tls/a.key" },
  },
  policies: { type: "RequiredMetadata", config: {} },
  "renewal-policies": { agent_group_id: "" },
  profiles: {
    enabled: true,
    allow_short_lived: false,
    max_ttl_seconds: 0,
    required_san_patterns: [],
    requires_approval: false,
  },
  certificates: { sans: [], status: "", certificate_profile_id: null, expires_at: null },
  "health-checks": { degraded_threshold: 2, down_threshold: 5 },
}

const withoutLastS = (word: string): string => (word.endsWith("ies") ? `${word.slice(0, -3)}y` : word.replace(/s$/, ""))

export const worldOf = async ({ document, send, adminKey, folder, seed }: Setup) => {
  const collections = new Map<string, DocumentedOperation>()
  for (const operation of document.operations) {
    const [, name] = /^\/api\/v1\/([a-z-]+)$/.exec(operation.path) ?? []
    if (name !== undefined && operation.method === "POST") collections.set(name, operation)
  }
  const standing = new Map<string, string>()
  let samples = 0
  let names = 0

  /** `certificate_profile_id` to `profiles`: the collection whose name ends the property's. */
  const collectionOf = (property: string): string | undefined => {
    const [, words] = /^([a-z_]+)_ids?$/.exec(property) ?? []
    if (words === undefined) return undefined
    const name = words.replaceAll("_", "-")
    return [...collections.keys()]
      .filter((collection) => name === withoutLastS(collection) || name.endsWith(`-${withoutLastS(collection)}`))
      .sort((a, b) => b.length - a.length)[0]
  }

  const sources: Sources = {
    resolve: document.resolve,
    idsOf(property) {
      const collection = collectionOf(property)
      const id = collection === undefined ? undefined : standing.get(collection)
      return collection === undefined ? undefined : id === undefined ? [""] : [id]
    },
  }

  const call = async (method: string, path: string, body?: unknown, key: string | null = adminKey): Promise<Answer> =>
    readAnswer(await send({ method, path: `${base}${path}`, key, body }))

  /** The body of a successful answer. */
  const ok = async (method: string, path: string, body?: unknown, key?: string): Promise<Answer["body"]> => {
    const answer = await call(method, path, body, key)
    if (answer.status >= 300) {
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`)
    }
    return answer.body
  }

  /** A few of the values that a schema allows, others each time. */
  const sample = <T>(values: fc.Arbitrary<T>, count: number): T[] => {
    samples += 1
    return fc.sample(values, { seed: seed + samples, numRuns: count })
  }

  const bodiesFor = (operation: DocumentedOperation, count: number): unknown[] =>
    operation.body === null ? [] : sample(valuesOf(operation.body, sources), count)

  /** A body with which a new row of the collection is made. */
  const newBody = (collection: string): Record<string, unknown> => {
    const operation = collections.get(collection)
    if (operation === undefined) throw new Error(`nothing is made under /${collection}`)
    const generated = bodiesFor(operation, 1)[0] as Record<string, unknown>
    names += 1
    const name = generated.name === undefined ? {} : { name: `${collection}-${names}` }
    return { ...generated, ...name, id: undefined, ...completions[collection] }
  }

  const create = async (collection: string, given: object = {}): Promise<Answer["body"]> =>
    ok("POST", `/${collection}`, { ...newBody(collection), ...given })

  const registered = async (): Promise<AgentInHand> => {
    const { id, api_key } = await create("agents")
    return { id, key: api_key }
  }

  const csrFor = async (commonName: string): Promise<string> =>
    buildCsr({ commonName, sans: [], privateKey: await generateKey("ecdsa-p256") })

  const world = {
    document,
    call,
    ok,
    bodiesFor,
    newBody,
    create,
    registered,
    csrFor,
    sample,
    sources,
    adminKey,
    hasCollection: (name: string): boolean => collections.has(name),
    /** The row of a collection that other rows refer to. */
    standing: (collection: string): string => standing.get(collection) ?? "",

    newId: async (collection: string): Promise<string> => (await create(collection)).id,

    async retired(): Promise<string> {
      const { id } = await registered()
      await ok("DELETE", `/agents/${id}`)
      return id
    },

    /** The key of a new person. */
    async keyOf(role: "viewer" | "operator" | "admin"): Promise<string> {
      return (await create("api-keys", { role })).key
    },

    /** A certificate on one target of an agent of its own. */
    async placed(given: object = {}) {
      const agent = await registered()
      const { id: targetId } = await create("targets", { agent_id: agent.id, enabled: true })
      const { id: certificateId, common_name: commonName } = await create("certificates", {
        issuer_id: "iss-local",
        target_ids: [targetId],
        ...given,
      })
      return { agent, targetId, certificateId, commonName: String(commonName) }
    },

    /** Its agent was asked for a key. */
    async awaitingCsr(given: object = {}) {
      const placed = await world.placed(given)
      await ok("POST", `/certificates/${placed.certificateId}/renew`)
      const { jobs } = await ok("GET", `/agents/${placed.agent.id}/work`)
      return { ...placed, jobId: String(jobs[0].id), csrPem: await csrFor(placed.commonName) }
    },

    /** Issued, and its deployment under way. */
    async issued(given: object = {}) {
      const { csrPem, ...placed } = await world.awaitingCsr(given)
      const { agent, certificateId } = placed
      await ok("POST", `/agents/${agent.id}/csr`, { csr_pem: csrPem, certificate_id: certificateId })
      const { data } = await ok("GET", `/certificates/${certificateId}/versions`)
      const { jobs } = await ok("GET", `/agents/${agent.id}/work`)
      return {
        ...placed,
        versionId: String(data[0].id),
        fingerprint: String(data[0].fingerprint_sha256),
        deploymentId: String(jobs[0].id),
      }
    },

    /** A renewal that waits for a second person. */
    async awaitingApproval() {
      const { id: profileId } = await create("profiles", { requires_approval: true })
      const placed = await world.placed({ certificate_profile_id: profileId })
      const { job_id: jobId } = await ok("POST", `/certificates/${placed.certificateId}/renew`)
      return { ...placed, profileId, jobId: String(jobId) }
    },

    /** A new issuer with a hierarchy, and what makes a root of it. */
    async newHierarchy(keyPath = join(folder, "root.key")) {
      const root = await createRootAuthority({
        keyType: "ecdsa-p256",
        commonName: "Root",
        notBefore: new Date("2020-01-01"),
        notAfter: new Date("2090-01-01"),
      })
      writeFileSync(join(folder, "root.key"), privateKeyPem(root.privateKey), { mode: 0o600 })
      const { id: issuerId } = await create("issuers", { hierarchy_mode: "tree" })
      names += 1
      return { issuerId, body: { name: `root-${names}`, root_cert_pem: root.certPem, key_driver_id: keyPath } }
    },

    /** A new issuer that has made its root. */
    async withRoot(): Promise<string> {
      const { id } = await create("issuers", { type: "GenericCA", config: {} })
      await ok("POST", `/issuers/${id}/test`)
      return id
    },

    async rootCa(): Promise<string> {
      const { issuerId, body } = await world.newHierarchy()
      return (await ok("POST", `/issuers/${issuerId}/intermediates`, body)).id
    },

    async discovered(): Promise<string> {
      const { id } = await registered()
      const fingerprint = sample(fc.stringMatching(/^[0-9a-f]{64}$/), 1)[0]
      await ok("POST", `/agents/${id}/discoveries`, {
        certificates: [{ fingerprint_sha256: fingerprint, common_name: "found.example", source_path: "/etc/a.pem" }],
      })
      return String((await ok("GET", `/discovered-certificates?agent_id=${id}`)).data[0].id)
    },

    /** The owner of a revoked certificate is told. */
    async notified(): Promise<string> {
      const { id: ownerId } = await create("owners", { email: "owner@example.com" })
      const { certificateId } = await world.issued({ owner_id: ownerId })
      await ok("POST", `/certificates/${certificateId}/revoke`)
      return String((await ok("GET", `/notifications?certificate_id=${certificateId}`)).data[0].id)
    },
  }

  // In the order in which they refer to each other.
  for (const name of ["teams", "owners", "profiles", "agent-groups", "renewal-policies", "agents", "targets"]) {
    standing.set(name, await world.newId(name))
  }
  standing.set("issuers", "iss-local")
  standing.set("certificates", await world.newId("certificates"))
  for (const name of collections.keys()) if (!standing.has(name)) standing.set(name, await world.newId(name))
  return world
}

export type World = Awaited<ReturnType<typeof worldOf>>
