import { expect, test } from "bun:test"
import type { Db, Tx } from "../db/db"
import { buildCsr } from "../pki/csr"
import { generateKey } from "../pki/keys"
import { agentActor } from "../testing/api"
import { lifecycleApi } from "../testing/lifecycle-api"
import { agentIds, agentOf, targetIds } from "../testing/lifecycle-world"
import { onEachDialect } from "../testing/on-each-dialect"
import { noNews } from "./certificate-news"

const count = 24
const idOf = (nth: number): string => `mc-${String(nth).padStart(2, "0")}`
/** Where each goes: one target, two of an agent, two agents, all. */
const placesOf = (nth: number): string[] => {
  const first = targetIds.indexOf(`${agentIds[nth % 3]}-a`)
  const sizes = [1, 2, 3, targetIds.length]
  return Array.from({ length: sizes[(nth >> 1) % 4] ?? 1 }, (_, at) => targetIds[(first + at) % targetIds.length] ?? "")
}
const agentsOf = (nth: number): string[] => [...new Set(placesOf(nth).map(agentOf))]

interface Heard {
  readonly id: string
  readonly status: string
}

const setUp = async (db: Db, completesAlone: boolean) => {
  const heard: Heard[] = []
  const news = {
    ...noNews,
    issued: async (_: Tx, ...certificates: readonly Heard[]) => {
      heard.push(...certificates.map(({ id, status }) => ({ id, status })))
    },
  }
  const api = await lifecycleApi(db, { news, completesAlone })
  const { t } = db
  await db.transaction(async (tx) => {
    const [model] = await tx.select().from(t.certificates).limit(1)
    if (model === undefined) throw new Error("the world has no certificates")
    for (let nth = 0; nth < count; nth += 1) {
      const id = idOf(nth)
      await tx
        .insert(t.certificates)
        .values({ ...model, id, name: id, commonName: `${id}.example.com`, sans: [], issuerId: "iss-inside" })
    }
  })
  for (let nth = 0; nth < count; nth += 1) await api.map(idOf(nth), ...placesOf(nth))
  const privateKey = await generateKey("ecdsa-p256")
  const submit = (id: string, agentId: string) =>
    api.as(agentActor(agentId))("POST", `/agents/${agentId}/csr`, {
      csr_pem: buildCsr({ commonName: `${id}.example.com`, sans: [], privateKey }),
      certificate_id: id,
    })
  return { ...api, heard, submit }
}

/** All that the issuances left behind, with ids that are made up at random replaced by what they stand for. */
const leftBehind = async ({ t, read }: Db) => {
  const jobs = await read.select().from(t.jobs)
  const versions = await read.select().from(t.certificateVersions)
  const rollouts = await read.select().from(t.rollouts)
  const names = new Map([
    ...jobs.map((row) => [row.id, `${row.type} of ${row.certificateId} ${row.agentId} ${row.targetId}`] as const),
    ...versions.map((row) => [row.id, `version of ${row.certificateId} ${row.agentId}`] as const),
    ...versions.map((row) => [row.serialNumber, `serial of ${row.certificateId} ${row.agentId}`] as const),
    ...rollouts.map((row) => [row.id, `roll-out of ${row.certificateId}`] as const),
  ])
  const random = new RegExp([...names.keys()].join("|"), "g")
  const plain = (rows: readonly object[]): string[] =>
    rows.map((row) => JSON.stringify(row).replace(random, (id) => names.get(id) ?? id)).toSorted()
  const withoutId = ({ id: _, ...row }: { id: string }) => row
  return {
    certificates: plain(await read.select().from(t.certificates)),
    jobs: plain(jobs),
    rollouts: plain(rollouts),
    versions: plain(
      versions.map(({ pemChain: _, csrPem: __, fingerprintSha256: ___, ...row }) => ({ ...row, serial: "" })),
    ),
    events: plain((await read.select().from(t.auditEvents)).map(withoutId)),
  }
}

onEachDialect("issuances that end at the same time", (openDb) => {
  const run = async (completesAlone: boolean) => {
    const db = await openDb()
    const { send, submit, clock, heard } = await setUp(db, completesAlone)
    for (let round = 0; round < 2; round += 1) {
      for (let nth = 0; nth < count; nth += 1) await send("POST", `/certificates/${idOf(nth)}/renew`)
      // The first agent of each at once, then the second: their order is part of what is left behind.
      for (const place of [0, 1, 2]) {
        const answers = await Promise.all(
          Array.from({ length: count }, (_, nth) => {
            const agentId = agentsOf(nth)[place]
            return agentId === undefined ? null : submit(idOf(nth), agentId)
          }),
        )
        for (const answer of answers) if (answer !== null) expect(answer.body).toEqual({ status: "csr_signed" })
      }
      // Deployments of the first round still wait when the second makes way for its own.
      clock.advance(86_400_000)
    }
    return { ...(await leftBehind(db)), heard: heard.map((one) => JSON.stringify(one)).toSorted() }
  }

  test("leave behind what they would one by one", async () => {
    const [together, alone] = [await run(false), await run(true)]
    expect(together.heard.length).toBeGreaterThan(count)
    expect(together).toEqual(alone)
  })

  test("of two agents of one certificate are both stored", async () => {
    const db = await openDb()
    const { send, submit } = await setUp(db, false)
    const both = Array.from({ length: count }, (_, nth) => nth).filter((nth) => agentsOf(nth).length > 1)
    for (const nth of both) await send("POST", `/certificates/${idOf(nth)}/renew`)
    const answers = await Promise.all(both.flatMap((nth) => agentsOf(nth).map((agentId) => submit(idOf(nth), agentId))))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]))
    const versions = await db.read.select().from(db.t.certificateVersions)
    expect(versions.map((row) => `${row.certificateId} ${row.agentId}`).toSorted()).toEqual(
      both.flatMap((nth) => agentsOf(nth).map((agentId) => `${idOf(nth)} ${agentId}`)).toSorted(),
    )
    for (const nth of both) {
      expect((await send("GET", `/certificates/${idOf(nth)}`)).body.status).toBe("Active")
    }
  })

  test("do not spoil each other: what was cancelled meanwhile is not stored, the others are", async () => {
    const db = await openDb()
    const { send, submit } = await setUp(db, false)
    const ids = Array.from({ length: count }, (_, nth) => nth).filter((nth) => agentsOf(nth).length === 1)
    for (const nth of ids) await send("POST", `/certificates/${idOf(nth)}/renew`)
    const [gone = 0, ...rest] = ids
    const cancelled = send("POST", `/certificates/${idOf(gone)}/archive`, {})
    const answers = await Promise.all(ids.map((nth) => submit(idOf(nth), agentsOf(nth)[0] ?? "")))
    await cancelled
    expect(answers.slice(1).map(({ status }) => status)).toEqual(rest.map(() => 202))
    const stored = new Set((await db.read.select().from(db.t.certificateVersions)).map((row) => row.certificateId))
    for (const nth of rest) expect(stored).toContain(idOf(nth))
    const { status } = (await send("GET", `/certificates/${idOf(gone)}`)).body ?? {}
    if (status !== undefined) expect(["Archived", "Active"]).toContain(status)
  })
})
