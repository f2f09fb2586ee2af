import { expect, test } from "bun:test"
import { auditService } from "../audit/audit.service"
import { auditStore } from "../audit/audit.store"
import { AppError } from "../errors"
import { testClock } from "../testing/assembled-app"
import { onEachDialect } from "../testing/on-each-dialect"
import { insertCertificate } from "../testing/rows"
import { until } from "../testing/until"
import { issuerStore } from "./issuer.store"
import { type GateSettings, issuerGates } from "./issuer-gate"
import { issuerTrouble } from "./issuer-trouble"

const gatesOf = (settings: Partial<GateSettings> = {}) => {
  const clock = testClock()
  const told: string[] = []
  const gates = issuerGates({
    clock,
    settings,
    onDegraded: async (id, reason) => void told.push(`${id} degraded: ${reason}`),
    onRecovered: async (id) => void told.push(`${id} works`),
    onError: (_id, error) => {
      throw error
    },
  })
  const refused = (id: string): Promise<number> =>
    gates
      .ask(id, async () => "answered")
      .then(
        () => 0,
        (error: AppError) => {
          expect(error.code).toBe("unavailable")
          return Number(error.body?.retry_after)
        },
      )
  const failing = (id: string, error: Error = new AppError("upstream", "out of order")) =>
    expect(gates.ask(id, () => Promise.reject(error))).rejects.toThrow()
  return { clock, gates, told, refused, failing }
}

test("asks an issuer so many times at once, has a few wait, and sends the others away; another issuer is not affected", async () => {
  const { gates, refused } = gatesOf({ atOnce: 2, waiting: 1 })
  const answers: PromiseWithResolvers<string>[] = []
  const call = () => {
    const answer = Promise.withResolvers<string>()
    answers.push(answer)
    return answer.promise
  }
  const asked = [gates.ask("slow", call), gates.ask("slow", call), gates.ask("slow", call)]
  await until("two are asked", () => answers.length === 2)
  expect(() => gates.demandOpen("slow")).toThrow("issuer slow is busy")
  expect(await refused("slow")).toBeGreaterThan(0)
  expect(await refused("quick")).toBe(0)
  answers[0]?.resolve("first")
  await until("the one that waited has its turn", () => answers.length === 3)
  answers[1]?.resolve("second")
  answers[2]?.resolve("third")
  expect(await Promise.all(asked)).toEqual(["first", "second", "third"])
  expect(await refused("slow")).toBe(0)
})

test("does not send away who was let in and has written so, however many came meanwhile", async () => {
  const { gates, refused } = gatesOf({ atOnce: 1, waiting: 0 })
  gates.demandOpen("one")
  const answer = Promise.withResolvers<string>()
  const meanwhile = gates.ask("one", () => answer.promise)
  expect(await refused("one")).toBeGreaterThan(0)
  const admitted = gates.ask("one", async () => "second", { isAdmitted: true })
  answer.resolve("first")
  expect(await Promise.all([meanwhile, admitted])).toEqual(["first", "second"])
})

test("leaves an issuer alone when hardly any call succeeds, longer each time, and lets one call find out", async () => {
  const { clock, gates, told, refused, failing } = gatesOf()
  for (let i = 0; i < 10; i += 1) await failing("bad")
  expect(told).toEqual(["bad degraded: 10 of the last 10 calls failed, the last with: out of order"])
  expect(gates.isOpen("bad")).toBe(false)
  expect(await refused("bad")).toBe(30)
  expect(await refused("good")).toBe(0)

  clock.advance(30_000)
  const probe = Promise.withResolvers<never>()
  const probing = gates.ask("bad", () => probe.promise)
  // The others wait for what becomes of it.
  expect(await refused("bad")).toBeGreaterThan(0)
  probe.reject(new AppError("upstream", "still out of order"))
  await expect(probing).rejects.toThrow("still out of order")
  expect(await refused("bad")).toBe(60)

  clock.advance(60_000)
  expect(await refused("bad")).toBe(0)
  expect(told.at(-1)).toBe("bad works")
  expect(await refused("bad")).toBe(0)
})

test("goes on asking an issuer that fails now and then, and one that refuses bad requests", async () => {
  const { gates, told, failing, refused } = gatesOf()
  for (let i = 0; i < 60; i += 1) {
    if (i % 3 === 0) await failing("shaky")
    else expect(await refused("shaky")).toBe(0)
    await failing("strict", new AppError("validation", "no such name"))
  }
  expect(gates.isOpen("shaky") && gates.isOpen("strict")).toBe(true)
  expect(told).toEqual(["shaky works"])
})

test("forgets failures that lie back for long", async () => {
  const { clock, gates, failing } = gatesOf()
  for (let i = 0; i < 30; i += 1) {
    await failing("rare")
    clock.advance(5 * 60_000)
  }
  expect(gates.isOpen("rare")).toBe(true)
})

test("does as long as it is asked to", async () => {
  const { clock, refused, failing } = gatesOf()
  await failing("limited", new AppError("rate_limited", "too many requests", { body: { retry_after: 120 } }))
  expect(await refused("limited")).toBe(120)
  clock.advance(120_000)
  expect(await refused("limited")).toBe(0)
})

test("gives up a call that hangs, and hears what it brings in the end", async () => {
  const { gates } = gatesOf({ callMs: 20, atOnce: 1, waiting: 0 })
  const answer = Promise.withResolvers<string>()
  const late: string[] = []
  const asked = gates.ask("hanging", () => answer.promise, { onLate: (result) => void late.push(result) })
  await expect(asked).rejects.toThrow("no answer within")
  // Its place is free again.
  expect(await gates.ask("hanging", async () => "next")).toBe("next")
  answer.resolve("signed after all")
  await until("the late answer", () => late.length === 1)
  expect(late).toEqual(["signed after all"])
})

onEachDialect("an issuer in trouble", (openDb) => {
  test("shows it on its row and in the audit trail, once, until it works again", async () => {
    const db = await openDb()
    await insertCertificate(db)
    const clock = testClock()
    const audit = auditService({ db, events: auditStore(db), clock })
    const issuers = issuerStore(db)
    const trouble = issuerTrouble({ db, issuers, audit, clock })
    const soon = new Date(clock.now().getTime() + 30_000)
    const began = clock.now()
    await trouble.onDegraded("iss-1", "10 of 10 failed", soon)
    clock.advance(30_000)
    await trouble.onDegraded("iss-1", "11 of 11 failed", soon)
    expect(await issuers.get("iss-1")).toMatchObject({ degradedSince: began, degradedReason: "11 of 11 failed" })
    await trouble.onRecovered("iss-1")
    await trouble.onRecovered("iss-1")
    expect(await issuers.get("iss-1")).toMatchObject({ degradedSince: null, degradedReason: null })
    const { rows } = await audit.list({ resourceId: "iss-1" }, { page: 1, per_page: 10 })
    expect(rows.map(({ action }) => action).toSorted()).toEqual(["issuer_degraded", "issuer_recovered"])
  })
})
