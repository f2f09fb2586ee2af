/** A revocation is told by every server within a second, whichever was asked to revoke, although answers are kept. */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { openssl } from "../pki/openssl.process"
import { estEnrol, estEnvironment } from "../testing/est-client"
import { postgresScene } from "../testing/on-each-database"
import { prepareLimitMs, prepareTestPostgres } from "../testing/postgres"
import { type ServerProcess, serverProcess } from "../testing/server-process"
import { until } from "../testing/until"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

const waitMs = 30_000

describe("two servers on one database", () => {
  beforeAll(prepareTestPostgres, prepareLimitMs)

  test("both tell of a revocation, in lists and over OCSP", async () => {
    const { stage, env } = await postgresScene()
    try {
      const start = async (name: string, adminKey?: string) => {
        const server = await serverProcess(stage, {
          name,
          env: { ...env, ...estEnvironment, CERTCTL_OCSP_RATE_LIMIT_PER_IP_MIN: "0" },
          ...(adminKey === undefined ? {} : { adminKey }),
        })
        await server.start()
        return server
      }
      const first = await start("first")
      const second = await start("second", first.adminKey)
      const servers = [first, second]
      const fetched = async (server: ServerProcess, path: string): Promise<Buffer> => {
        const url = `${server.url}/.well-known/pki/${path}`
        return Buffer.from(await (await fetch(url, { tls: { ca: server.caPem } })).arrayBuffer())
      }
      const saysRevoked = (answer: Buffer): boolean =>
        openssl(["ocsp", "-respin", "a.der", "-noverify", "-resp_text"], { "a.der": answer }).text.includes(
          "Cert Status: revoked",
        )
      const lists = (list: Buffer, serial: string): boolean =>
        openssl(["crl", "-inform", "DER", "-in", "a.crl", "-noout", "-text"], { "a.crl": list }).text.includes(
          serial.toUpperCase(),
        )
      for (const asked of servers) {
        const { serial } = await estEnrol(first, { commonName: `of-${asked.port}.example`, sans: [] })
        const questions = servers.flatMap((server, n) => [
          { server, what: `OCSP of server ${n + 1}`, path: `ocsp/iss-local/${serial}`, isRevoked: saysRevoked },
          {
            server,
            what: `the list of server ${n + 1}`,
            path: "crl/iss-local",
            isRevoked: (der: Buffer) => lists(der, serial),
          },
        ])
        // From here on all of them are kept.
        const before = await Promise.all(questions.map(({ server, path }) => fetched(server, path)))
        for (const [n, { what, isRevoked }] of questions.entries()) {
          expect([what, isRevoked(before[n] ?? Buffer.alloc(0))]).toEqual([what, false])
        }
        const { data } = await asked.get(`/api/v1/certificates?q=${serial}`)
        await asked.post(`/api/v1/certificates/${data[0].id}/revoke`, { reason: "keyCompromise" })
        const revokedAt = performance.now()
        const told = questions.map(async ({ server, what, path }, n) => {
          let answer = before[n] ?? Buffer.alloc(0)
          const isNew = async () => {
            answer = await fetched(server, path)
            return !answer.equals(before[n] ?? Buffer.alloc(0))
          }
          await until(`${what} has changed`, isNew, waitMs, 10)
          return { answer, afterMs: Math.round(performance.now() - revokedAt) }
        })
        for (const [n, { answer, afterMs }] of (await Promise.all(told)).entries()) {
          const question = questions[n]
          console.log(`revoked at server ${servers.indexOf(asked) + 1}: ${question?.what} says so after ${afterMs} ms`)
          expect([question?.what, question?.isRevoked(answer)]).toEqual([question?.what, true])
        }
      }
    } finally {
      await stage.end()
    }
  })
})
