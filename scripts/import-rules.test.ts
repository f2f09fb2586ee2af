import { describe, expect, test } from "bun:test"
import { checkFile, importsOf, objection } from "./import-rules"

describe("the import rules", () => {
  const allowed: [string, string][] = [
    ["src/pki/csr.ts", "src/errors.ts"],
    ["src/db/sqlite.ts", "src/embed.ts"],
    ["src/connectors/issuers/vault.ts", "src/connectors/http.ts"],
    ["src/certificates/certificate.store.ts", "src/db/db.ts"],
    ["src/certificates/certificate.service.ts", "src/certificates/certificate.store.ts"],
    ["src/certificates/certificate.service.ts", "src/jobs/job.service.ts"],
    ["src/certificates/certificate.routes.ts", "src/server/operation.ts"],
    ["src/issuers/issuer.service.ts", "src/connectors/issuers/catalog.ts"],
    ["src/protocols/crl/crl.routes.ts", "src/issuers/issuer.service.ts"],
    ["ui/pages/jobs.page.ts", "src/jobs/job.service.ts"],
    ["ui/pages/jobs.page.ts", "ui/islands/countdown.ts"],
    ["agent/poll.ts", "src/agents/agent-protocol.schema.ts"],
    ["agent/identity.ts", "src/data-directory.ts"],
    ["agent/deploy.ts", "src/connectors/targets/nginx.ts"],
    ["src/main.ts", "src/commands/server.ts"],
    ["src/commands/server.ts", "src/wiring.ts"],
    ["src/wiring.ts", "src/server/app.ts"],
    ["src/jobs/job.test.ts", "src/certificates/certificate.store.ts"],
  ]
  test.each(allowed)("let %s import %s", (from, target) => {
    expect(objection(from, target)).toBeNull()
  })

  const refused: [string, string][] = [
    ["src/errors.ts", "src/clock.ts"],
    ["src/pki/csr.ts", "src/clock.ts"],
    ["src/pki/csr.ts", "src/db/db.ts"],
    ["src/db/db.ts", "src/config.ts"],
    ["src/secrets/seal.ts", "src/db/db.ts"],
    ["src/connectors/issuers/vault.ts", "src/db/db.ts"],
    ["src/connectors/issuers/vault.ts", "src/config.ts"],
    ["src/connectors/issuers/vault.ts", "src/issuers/issuer.schema.ts"],
    ["src/certificates/certificate.service.ts", "src/jobs/job.store.ts"],
    ["src/certificates/certificate.service.ts", "src/jobs/job.routes.ts"],
    ["src/certificates/certificate.service.ts", "src/connectors/issuers/vault.ts"],
    ["src/certificates/certificate.service.ts", "src/config.ts"],
    ["src/certificates/certificate.routes.ts", "src/server/app.ts"],
    ["src/protocols/crl/crl.routes.ts", "src/db/db.ts"],
    ["src/scheduler/loops.ts", "src/jobs/job.store.ts"],
    ["ui/pages/jobs.page.ts", "src/db/db.ts"],
    ["ui/pages/jobs.page.ts", "src/jobs/job.store.ts"],
    ["ui/islands/countdown.ts", "src/jobs/job.schema.ts"],
    ["src/client/api.ts", "src/jobs/job.service.ts"],
    ["agent/poll.ts", "src/db/db.ts"],
    ["agent/poll.ts", "src/agents/agent.service.ts"],
    ["agent/poll.ts", "src/connectors/issuers/vault.ts"],
    ["src/jobs/job.service.ts", "src/wiring.ts"],
    ["src/wiring.ts", "src/commands/server.ts"],
    ["src/jobs/job.service.ts", "src/testing/postgres.ts"],
    ["src/issuers/issuer.service.ts", "src/connectors/issuers/vault.fake.ts"],
    ["src/strange.ts", "src/errors.ts"],
  ]
  test.each(refused)("refuse that %s imports %s", (from, target) => {
    expect(objection(from, target)).not.toBeNull()
  })

  test("let a service name the methods of another feature's store by type, and nobody else", () => {
    expect(objection("src/certificates/certificate.service.ts", "src/jobs/job.store.ts", true)).toBeNull()
    expect(objection("src/scheduler/loops.ts", "src/jobs/job.store.ts", true)).not.toBeNull()
    expect(objection("ui/pages/jobs.page.ts", "src/jobs/job.store.ts", true)).not.toBeNull()
  })

  test("see every form of import and the line it stands in", () => {
    const source = `import "reflect-metadata"
import type { A } from "./a"
import {
  b,
  c,
} from "./b"
export { d } from "./d"
const e = await import("./e")
// import { no } from "./comment"
const text = 'import { no } from "./string"'
`
    expect(importsOf(source)).toEqual([
      { specifier: "reflect-metadata", line: 1, typeOnly: false },
      { specifier: "./a", line: 2, typeOnly: true },
      { specifier: "./b", line: 6, typeOnly: false },
      { specifier: "./d", line: 7, typeOnly: false },
      { specifier: "./e", line: 8, typeOnly: false },
    ])
  })

  test("name the file, the line and the rule", () => {
    const exists = (path: string) => path === "src/config.ts"
    expect(
      checkFile("src/db/db.ts", 'import { x } from "valibot"\nimport { load } from "../config"\n', exists),
    ).toEqual([
      {
        file: "src/db/db.ts",
        line: 2,
        message: "db may import errors, pki, the clock and the embedded files; src/config.ts is not among them",
      },
    ])
  })

  test("report an import of a file that does not exist", () => {
    expect(checkFile("src/db/db.ts", 'import { x } from "./gone"\n', () => false)[0]?.message).toBe(
      "./gone does not exist",
    )
  })
})
