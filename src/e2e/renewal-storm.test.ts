/**
 * Everything is due at once, and one of the CAs has a bad day: a third of its calls fails and some are never answered. Real loops, real
 * routes, the CA on a socket; the clock runs faster than the machine's. CERTCTL_TEST_STORM sets how many certificates.
 */
import { afterEach, expect, setDefaultTimeout, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openedHttpCa, startHttpCa } from "../testing/http-ca.fake"
import { onEachDialect } from "../testing/on-each-dialect"
import { seededRandom } from "../testing/seeded-random"
import { stormAgents } from "../testing/storm-agents"
import { agentKeyOf, insertStorm, jobsUnderWay, movableClock, stormOutcome, wireStorm } from "../testing/storm-world"
import { until } from "../testing/until"

// Everything runs in this one process: on a busy machine it takes minutes.
setDefaultTimeout(1_800_000)

const certificates = Number(process.env.CERTCTL_TEST_STORM ?? 300)
const calm = Math.ceil(certificates / 10)
const agentCount = 30
const dayMs = 86_400_000
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

onEachDialect("a storm of renewals", (openDb) => {
  test("ends with every certificate renewed once, and with no job left behind", async () => {
    const db = await openDb()
    const { random, seed } = seededRandom()
    const clock = movableClock()
    const startedAt = clock.now()
    const caOptions = { now: clock.now, random, lifetimeMs: 90 * dayMs }
    const stormy = await startHttpCa({ ...caOptions, failing: 0.3, hanging: 0.01 })
    const steady = await startHttpCa({ ...caOptions, failing: 0, hanging: 0 })
    cleanups.push(stormy.stop, steady.stop)

    const issuers = { "iss-stormy": certificates - calm, "iss-steady": calm }
    const agentIds = await insertStorm(db, { issuers, agents: agentCount, now: startedAt })
    const dataDir = mkdtempSync(join(tmpdir(), "certctl-storm-"))
    cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }))
    const openIssuer = openedHttpCa((id) => (id === "iss-stormy" ? stormy.url : steady.url), 1000)
    const { wired } = await wireStorm(db, dataDir, { clock, openIssuer })
    cleanups.push(() => wired.close(1000))

    const agents = await stormAgents({
      fetch: (request) => wired.app.fetch(request, {}),
      base: "http://certctl.example",
      agents: agentIds.map((id) => ({ id, apiKey: agentKeyOf(id) })),
      pauseMs: 200,
      heartbeatMs: 60_000,
    })
    cleanups.push(agents.stop)
    await wired.scheduler.start()
    cleanups.push(() => wired.scheduler.stop(10_000))

    /** Until nothing is under way: retries come when the clock says so. */
    const weather = async () => {
      await until(
        "no job is under way",
        async () => {
          clock.advance(5_000)
          return (await jobsUnderWay(db)) === 0
        },
        1_500_000,
        250,
      )
    }
    const checkAgain = async () => {
      clock.advance(2 * 3_600_000)
      await wired.services.renewals.checkAll(new AbortController().signal)
    }
    await until("the check has found them", async () => ((await jobsUnderWay(db)) ?? 0) > 0, 120_000)
    await weather()
    const first = await stormOutcome(db, startedAt)
    expect(first.problems).toEqual([])
    // Three attempts with a third of them failing leave a few; none of the other CA's.
    expect(first.givenUp).toBeLessThan(certificates / 10)
    expect(steady.counts.signed).toBe(calm)

    // The bad day is over: the next checks bring home the rest.
    stormy.be({ failing: 0, hanging: 0 })
    await checkAgain()
    await weather()
    const last = await stormOutcome(db, startedAt)
    expect(last.problems).toEqual([])
    expect(last).toMatchObject({ renewed: certificates, givenUp: 0, versions: certificates })
    // No CA was asked twice for what it had signed.
    expect(stormy.counts.signed + steady.counts.signed).toBe(certificates)
    expect(stormy.counts.most).toBeLessThanOrEqual(20)
    expect(agents.unexpected).toEqual([])
    console.log(
      `${certificates} certificates, ${first.givenUp} of them in a second run; the CA was asked ${stormy.counts.asked} times, failed ${stormy.counts.failed} and hung ${stormy.counts.hung}; agents ${JSON.stringify(agents.counts)}; CERTCTL_TEST_SEED=${seed}`,
    )
  })
})
