import { afterEach, expect, test } from "bun:test"
import { onEachDialect } from "../on-each-dialect"
import { explore } from "./explore"
import { answerProblems, conventionProblems, readAnswer } from "./server"
import { adminKey, documentOf, endServers, startMailingServer, startServer } from "./start-server"

afterEach(endServers)

// Some five thousand requests.
const limitMs = 600_000

onEachDialect("the API", (openDb, dialect) => {
  test(
    "answers as its document says, and with every status that it lists",
    async () => {
      const db = await openDb()
      const { smtp, ...main } = await startMailingServer(db)
      const bare = await startServer(db)
      const limited = await startServer(db, {
        CERTCTL_RATE_LIMIT_ENABLED: "true",
        CERTCTL_RATE_LIMIT_RPS: "0.001",
        CERTCTL_RATE_LIMIT_BURST: "1",
      })
      const { problems, unseen } = await explore({
        document: await documentOf(main.send),
        servers: { main: main.send, bare: bare.send, limited: limited.send },
        adminKey,
        folder: main.folder,
        seed: Number(process.env.CERTCTL_TEST_SEED ?? 1),
        samples: 3,
        // They are refused before a database is asked.
        mutates: dialect === "sqlite",
        mail: { fail: () => smtp.fail("550 no"), recover: () => smtp.recover() },
        maxBodyBytes: main.maxBodyBytes,
      })
      expect(problems).toEqual([])
      expect(unseen).toEqual([])
    },
    limitMs,
  )

  test(
    "answers 500 or 503 with an error body on every route while the database is gone",
    async () => {
      const db = await openDb()
      const { send } = await startServer(db)
      const document = await documentOf(send)
      await db.close()
      for (const operation of document.operations) {
        const { id, method, path, query } = operation
        if (!path.startsWith("/api/v1/") || query.some(({ name }) => name === "wait")) continue
        const asked = { method, path: path.replaceAll(/\{[^}]+\}/g, "some-id"), key: adminKey }
        const answer = await readAnswer(await send(asked))
        const { status, headers, body } = answer
        // Some need no row to answer, and some find fault with an empty body first.
        const problems = status < 500 ? answerProblems(document, operation, answer) : conventionProblems(answer)
        expect([id, problems]).toEqual([id, []])
        if (status >= 500) expect([id, body.request_id]).toEqual([id, headers.get("x-request-id")])
      }
      const ready = await readAnswer(await send({ method: "GET", path: "/ready", key: null }))
      expect([ready.status, ready.body.status]).toEqual([503, "db_unavailable"])
    },
    limitMs,
  )
})
