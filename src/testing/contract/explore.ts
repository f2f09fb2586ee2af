/**
 * Calls every operation of a document with good and bad input, and tells which documented answers never came and which
 * answers the document does not know. What an operation takes is read from the document, so a new one is called by itself.
 */

import { kindOfPath } from "../../server/path-kinds"
import type { ContractDocument, DocumentedOperation } from "./document"
import { mutationsOf, valuesOf } from "./generate"
import { beyondSchema, type Call, elsewhere, recipes, seenElsewhere, subjects } from "./recipes"
import { type Answer, answerProblems, conventionProblems, readAnswer, type Send } from "./server"
import { base, worldOf } from "./world"

export interface Servers {
  /** Everything is set up, and nobody is limited. */
  readonly main: Send
  /** The same database, without what can be left out: no mail, no digest. */
  readonly bare: Send
  /** A caller may ask once. */
  readonly limited: Send
}

export interface Exploration {
  readonly servers: Servers
  readonly document: ContractDocument
  readonly adminKey: string
  readonly folder: string
  readonly seed: number
  /** Bodies taken from the schema per operation. */
  readonly samples: number
  /** Whether bodies are sent that differ from a good one in one place. */
  readonly mutates: boolean
  /** Makes what is outside fail, and mends it again. */
  readonly mail: { fail(): void; recover(): void }
  readonly maxBodyBytes: number
}

/** Values for which queries of other servers have answered 500. */
const oddTexts = ["", "-1", "501", "99999999999999999999", "no such value", "\ufffd"]
const isReference = (name: string): boolean => name.endsWith("_id")

/** A poll that waits as long as it is told to; the tests of the work queue wait. */
const slow = new Set(["wait"])

/** EST, CRL and OCSP have clients and conformance tests of their own. */
const isOurs = ({ path }: DocumentedOperation): boolean => path.startsWith(`${base}/`) || kindOfPath(path) === "probe"

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

export const explore = async (setup: Exploration): Promise<{ problems: string[]; unseen: string[]; calls: number }> => {
  const { document, servers, adminKey, seed, samples } = setup
  const operations = document.operations.filter(
    (operation) => isOurs(operation) && elsewhere[operation.id] === undefined,
  )
  const problems = new Set<string>()
  const seen = new Map<string, Set<number>>()
  let calls = 0

  const isDocumented = ({ answers }: DocumentedOperation, status: number) => answers.has(status)
  const isUnseen = (operation: DocumentedOperation, status: number) =>
    isDocumented(operation, status) && seen.get(operation.id)?.has(status) !== true

  const send = async (
    operation: DocumentedOperation,
    { params = {}, query = {}, body, key = adminKey }: Omit<Call, "key"> & { key?: string | null },
    through: Send = servers.main,
  ): Promise<Answer> => {
    const path = operation.path.replaceAll(/\{([^}]+)\}/g, (_, name) =>
      encodeURIComponent(params[name] ?? "no-such-id"),
    )
    const { method } = operation
    const needed = operation.query.filter(({ required }) => required)
    const given = needed.map(({ name, schema }) => [name, String(world.sample(valuesOf(schema, world.sources), 1)[0])])
    const search = new URLSearchParams({ ...Object.fromEntries(given), ...query })
    const answer = await readAnswer(
      await through({ method, path: search.size === 0 ? path : `${path}?${search}`, key, body }),
    )
    calls += 1
    for (const problem of answerProblems(document, operation, answer)) {
      problems.add(`${operation.id} (${method} ${path}): ${problem}`)
    }
    const statuses = seen.get(operation.id) ?? new Set()
    seen.set(operation.id, statuses.add(answer.status))
    return answer
  }

  const world = await worldOf({ document, send: servers.main, adminKey, folder: setup.folder, seed })
  const viewer = await world.keyOf("viewer")
  const stranger = await world.registered()

  const collectionOf = ({ path }: DocumentedOperation): string => path.slice(base.length + 1).split("/")[0] ?? ""

  /** A call that should succeed, on something made for it. */
  const subjectOf = async (operation: DocumentedOperation): Promise<Call> => {
    const special = subjects[operation.id]
    if (special !== undefined) return special(world)
    if (operation.parameters.length === 0) return {}
    const collection = collectionOf(operation)
    if (!world.hasCollection(collection)) throw new Error(`${operation.id} needs a row in subjects of recipes.ts`)
    return { params: { id: await world.newId(collection) } }
  }

  const expect = (operation: DocumentedOperation, what: string, answer: Answer, ...statuses: number[]): void => {
    if (statuses.includes(answer.status)) return
    problems.add(
      `${operation.id}: ${what} answered ${answer.status}, not ${statuses.join(" or ")}: ${JSON.stringify(answer.body)?.slice(0, 300)}`,
    )
  }

  const refusals = async (operation: DocumentedOperation): Promise<void> => {
    const { method, path, role } = operation
    const [body] = world.bodiesFor(operation, 1)
    if (role !== "public") {
      expect(operation, "no key", await send(operation, { body, key: null }), 401)
      expect(operation, "an unknown key", await send(operation, { body, key: "unknown" }), 401)
      const weak = role === "viewer" ? stranger.key : viewer
      expect(operation, "a key of too low a role", await send(operation, { body, key: weak }), 403)
      if (path.startsWith(`${base}/agents/{`)) {
        expect(operation, "another agent's key", await send(operation, { body, key: stranger.key }), 403)
      }
    }
    if (isDocumented(operation, 413)) {
      const large = " ".repeat(setup.maxBodyBytes + 1)
      expect(operation, "a large body", await send(operation, { body: large, key: null }), 413)
    }
    if (isDocumented(operation, 429)) {
      await send(operation, { body, key: null }, servers.limited)
      expect(operation, "one call too many", await send(operation, { body, key: null }, servers.limited), 429)
    }
    if (isDocumented(operation, 404)) {
      const { body: good = body } = subjects[operation.id] === undefined ? {} : await subjectOf(operation)
      expect(operation, "an unknown id", await send(operation, { body: good }), 404)
    }
    if (operation.body !== null) {
      const call = await subjectOf(operation)
      expect(operation, "a NUL character", await send(operation, { ...call, body: { name: "\0" } }), 400)
      for (const malformed of ['{"a":', "\u0000", '{"a":1}}']) {
        expect(operation, "malformed JSON", await send(operation, { ...call, body: malformed }), 400)
      }
    }
    await conventions(operation, method, path)
  }

  /** What holds for a path, whichever operation is asked. */
  const conventions = async (operation: DocumentedOperation, method: string, path: string): Promise<void> => {
    const concrete = path.replaceAll(/\{[^}]+\}/g, "no-such-id")
    const ask = async (asked: string, at: string) => {
      calls += 1
      const answer = await readAnswer(await servers.main({ method: asked, path: at, key: adminKey }))
      for (const problem of conventionProblems(answer)) problems.add(`${asked} ${at}: ${problem}`)
      return answer
    }
    expect(operation, "a NUL character in the address", await ask(method, `${concrete}?any=%00`), 400)
    const wrong = await ask("PATCH", concrete)
    expect(operation, "a wrong method", wrong, 405)
    const allowed = (wrong.headers.get("allow") ?? "").split(", ")
    const others = document.operations.filter((other) => other.path === path).map((other) => other.method)
    const expected = [...new Set([...others, ...(others.includes("GET") ? ["HEAD"] : [])])]
    if (!expected.every((name) => allowed.includes(name))) problems.add(`PATCH ${path}: Allow is ${allowed.join(", ")}`)
    if (path.startsWith(base)) expect(operation, "a trailing slash", await ask(method, `${concrete}/`), 404)
    if (method !== "GET") return
    const [head, get] = [await ask("HEAD", concrete), await ask("GET", concrete)]
    expect(operation, "HEAD", head, get.status)
    if (head.body !== "") problems.add(`HEAD ${path} has a body`)
  }

  const goodInput = async (operation: DocumentedOperation): Promise<void> => {
    const [success = 200] = [...operation.answers.keys()].filter((status) => status < 300)
    const call = await subjectOf(operation)
    const answer = await send(operation, call.body === undefined ? { ...call, body: bodyOf(operation) } : call)
    if (beyondSchema[operation.id] === undefined || call.body !== undefined) {
      expect(operation, "good input", answer, ...[...operation.answers.keys()].filter((status) => status < 300))
    }
    if (operation.body !== null) {
      for (const body of world.bodiesFor(operation, samples)) {
        const fresh = await subjectOf(operation)
        const refused = await send(operation, { ...fresh, body })
        if (beyondSchema[operation.id] === undefined) {
          const what = `a body that its schema allows (${JSON.stringify(body)?.slice(0, 500)})`
          expect(operation, what, refused, success, ...(operation.answers.has(409) ? [409] : []))
        }
      }
    }
    if (operation.query.length > 0 && operation.method === "GET") {
      for (const { name, schema } of operation.query) {
        if (slow.has(name)) continue
        for (const value of oddTexts) {
          const asked = await send(operation, { ...call, query: { [name]: value } })
          const isGood = document.queryProblem(operation, name, value) === null || isRecord(schema.anyOf)
          const expected = [success, ...(isGood ? [] : [400]), ...(isReference(name) ? [404] : [])]
          expect(operation, `${name}=${value}`, asked, ...expected)
        }
      }
    }
  }

  const bodyOf = (operation: DocumentedOperation): unknown => {
    const collection = collectionOf(operation)
    const isRow = operation.path === `${base}/${collection}` || operation.path === `${base}/${collection}/{id}`
    return isRow && world.hasCollection(collection) ? world.newBody(collection) : world.bodiesFor(operation, 1)[0]
  }

  const badInput = async (operation: DocumentedOperation): Promise<void> => {
    if (operation.body === null || !setup.mutates) return
    const call = await subjectOf(operation)
    const good = call.body ?? bodyOf(operation)
    for (const { what, body } of mutationsOf(operation.body, good, document)) {
      if (document.bodyProblem(operation, body) === null) continue
      expect(operation, what, await send(operation, { ...call, body }), 400)
    }
  }

  /** States that follow from what an operation is. */
  const conflicts = async (operation: DocumentedOperation): Promise<void> => {
    const { method, path } = operation
    for (const [status, recipe] of Object.entries(recipes[operation.id] ?? {})) {
      const call = await recipe(world)
      const body = call.body ?? world.bodiesFor(operation, 1)[0]
      expect(operation, `the recipe for ${status}`, await send(operation, { ...call, body }), Number(status))
    }
    const collection = collectionOf(operation)
    if (isUnseen(operation, 409) && method === "POST" && path === `${base}/${collection}`) {
      const body = world.newBody(collection)
      await send(operation, { body })
      await send(operation, { body })
    }
    if (isUnseen(operation, 409) && method === "PUT") {
      const { id } = await world.create(collection)
      const [former, name] = [await world.ok("GET", `/${collection}/${world.standing(collection)}`), "name"]
      const taken = collection === "targets" ? { agent_id: former.agent_id } : {}
      await send(operation, { params: { id }, body: { ...taken, [name]: former.name } })
    }
    if (isUnseen(operation, 409) && method === "DELETE") {
      await send(operation, { params: { id: world.standing(collection) } })
    }
    if (isUnseen(operation, 410)) {
      const call = await subjectOf(operation)
      const body = call.body ?? world.bodiesFor(operation, 1)[0]
      await send(operation, { ...call, body, params: { ...call.params, id: await world.retired() } })
    }
    if (isUnseen(operation, 503)) await send(operation, {}, servers.bare)
    if (isUnseen(operation, 500)) {
      setup.mail.fail()
      await send(operation, {})
      setup.mail.recover()
    }
  }

  for (const operation of operations) {
    try {
      await goodInput(operation)
      await badInput(operation)
      await refusals(operation)
      await conflicts(operation)
    } catch (error) {
      problems.add(`${operation.id}: could not be called: ${error instanceof Error ? error.message : error}`)
    }
  }
  const unseen = operations.flatMap((operation) =>
    [...operation.answers.keys()]
      .filter((status) => isUnseen(operation, status) && seenElsewhere[operation.id]?.[status] === undefined)
      .map((status) => `${operation.id} never answered ${status}`),
  )
  return { problems: [...problems], unseen, calls }
}
