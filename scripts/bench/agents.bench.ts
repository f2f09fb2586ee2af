/**
 * What 5,000 agents cost a server that has nothing else to do: each asks for work every 30 seconds and gives a sign of life every
 * 60. The compiled server in a process of its own, SQLite with its fsyncs, plain HTTP
 * on connections that stay open: Bun's client makes a TLS connection for each request when it is given a CA. The requests of a
 * minute are sent evenly over a shorter time: the processor time of the server for them, divided by that minute, is its share of one core.
 *
 *   bun build.ts --if-stale && bun scripts/bench/agents.bench.ts [minutes]
 */
import "reflect-metadata"
import { readFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { join } from "node:path"
import { secretHash } from "../../src/access/secrets"
import { openDatabase } from "../../src/db/open"
import { serverProcess } from "../../src/testing/server-process"
import { openStage } from "../../src/testing/stage"

const minutes = Number(process.argv[2] ?? 2)
const agents = 5000
const pollsPerMinute = 2
const beatsPerMinute = 1
/** Requests under way at a time: as many connections. */
const callers = 32

const stage = openStage()
const server = await serverProcess(stage, { env: { CERTCTL_LOG_LEVEL: "warn", CERTCTL_SERVER_TLS: "off" } })

const keyOf = (agent: number) => `agent-key-of-number-${agent}`
const idOf = (agent: number) => `agent-${agent}`

/** Beside a server that has stopped and left its database. */
const makeAgents = async (): Promise<void> => {
  const file = join(server.dataDir, "certctl.db")
  const db = await openDatabase({ url: `sqlite:${file}`, dataDir: server.dataDir, maxConnections: 1 })
  const registeredAt = new Date()
  for (let from = 0; from < agents; from += 500) {
    const rows = Array.from({ length: 500 }, (_, i) => {
      const number = from + i
      const name = `host${number}.example.com`
      return { id: idOf(number), name, hostname: name, registeredAt, apiKeyHash: secretHash(keyOf(number)) }
    })
    await db.transaction(async (tx) => {
      await tx.insert(db.t.agents).values(rows)
    })
  }
  await db.close()
}

/** Of the server so far, in seconds: user and system time. The kernel counts in hundredths. */
const processorSeconds = (): number => {
  const fields = readFileSync(`/proc/${server.process().pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const request = async (agent: number, method: string, path: string, body?: object): Promise<void> => {
  const answer = await fetch(`${server.url}/api/v1/agents/${idOf(agent)}/${path}`, {
    method,
    headers: { authorization: `Bearer ${keyOf(agent)}`, "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`)
}

const poll = (agent: number) => request(agent, "GET", "work")
const beat = (agent: number) =>
  request(agent, "POST", "heartbeat", {
    hostname: `host${agent}.example.com`,
    os: "linux",
    architecture: "amd64",
    ip_address: "10.0.0.1",
    version: "1.0.0",
  })

const minute = async (): Promise<{ processor: number; clock: number; worst: number }> => {
  const work = Array.from({ length: agents }, (_, agent) => [
    ...Array.from({ length: pollsPerMinute }, () => () => poll(agent)),
    ...Array.from({ length: beatsPerMinute }, () => () => beat(agent)),
  ]).flat()
  const shuffled = work.map((one) => ({ one, place: Math.random() })).sort((a, b) => a.place - b.place)
  const before = processorSeconds()
  const began = performance.now()
  let worst = 0
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let next = shuffled.pop(); next !== undefined; next = shuffled.pop()) {
        const asked = performance.now()
        await next.one()
        worst = Math.max(worst, performance.now() - asked)
      }
    }),
  )
  return { processor: processorSeconds() - before, clock: (performance.now() - began) / 1000, worst }
}

try {
  await server.start()
  await server.stop()
  await makeAgents()
  await server.start()
  console.log(
    `bun scripts/bench/agents.bench.ts ${minutes}   (${cpus().length} x ${cpus()[0]?.model ?? "unknown CPU"})`,
  )
  for (let round = 0; round < minutes; round++) {
    const { processor, clock, worst } = await minute()
    const share = ((processor / 60) * 100).toFixed(1)
    console.log(
      `a minute of ${agents} agents, sent in ${clock.toFixed(1)} s: ${processor.toFixed(1)} s of processor time, ${share} % of one core; worst answer ${worst.toFixed(0)} ms; load ${loadavg()[0]?.toFixed(1)}`,
    )
  }
} finally {
  await stage.end()
}
process.exit(0)
