/**
 * Runs Schemathesis, a tester for OpenAPI documents that is none of ours, with all its checks against the compiled server. Needs
 * Python 3 with venv, and PyPI for the first run. `bun scripts/schemathesis/run.ts [arguments of "schemathesis run"]`
 */
import "reflect-metadata"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startSmtp } from "../../src/connectors/notifiers/smtp.fake"
import { readDocument } from "../../src/testing/contract/document"
import { beyondSchema } from "../../src/testing/contract/recipes"
import type { Send } from "../../src/testing/contract/server"
import { type World, worldOf } from "../../src/testing/contract/world"
import { serverProcess } from "../../src/testing/server-process"
import { openStage } from "../../src/testing/stage"

/** Pinned: another version finds other things, and finds them when nobody has time for them. */
const version = "4.32.5"
const cache = join(tmpdir(), `certctl-schemathesis-${version}`)
const schemathesis = join(cache, "bin/schemathesis")

/** Requests that their schema allows and that are refused all the same: the answer depends on which rows there are. */
const dependsOnRows: Readonly<Record<string, string>> = {
  create_certificate: "owner, team, issuer, policy, profile and targets must exist",
  update_certificate: "owner, team, issuer, policy, profile and targets must exist; names stay once it was issued",
  trigger_renewal: "an archived certificate, or one from elsewhere, is not renewed",
  revoke_certificate: "what was never issued cannot be revoked",
  create_owner: "team_id must be empty or exist",
  update_owner: "team_id must be empty or exist",
  create_renewal_policy: "agent_group_id must be empty or exist",
  update_renewal_policy: "agent_group_id must be empty or exist",
  bulk_reassign_certificates: "the owner must exist",
  claim_discovered_certificate: "the managed certificate must exist",
  retire_agent: "force needs a reason",
  cancel_job: "only while it is open",
  approve_job: "only while it waits",
  reject_job: "only while it waits",
  rotate_api_key: "not once it is disabled",
  roll_over_issuer_root: "the issuer must be enabled and keep its root here",
  create_acme_external_account: "the profile and the owner must exist",
}

const collections = [
  "teams",
  "owners",
  "profiles",
  "renewal-policies",
  "agent-groups",
  "agents",
  "targets",
  "issuers",
  "certificates",
  "policies",
  "health-checks",
  "network-scan-targets",
]

/** Rows that exist, for the paths that need one. Nothing of them is deleted: others still need it. */
const rowsOf = async (world: World): Promise<Record<string, string>> => ({
  ...Object.fromEntries(collections.map((name) => [name, world.standing(name)])),
  jobs: (await world.issued()).deploymentId,
  notifications: await world.notified(),
  approvals: (await world.ok("GET", `/approvals?certificate_id=${(await world.awaitingApproval()).certificateId}`))
    .data[0].id,
  "discovered-certificates": await world.discovered(),
})

const toml = (url: string, key: string, rows: Readonly<Record<string, string>>): string => {
  const existing = Object.keys(rows).map(
    (collection) => `
[[operations]]
include-path-regex = "^/api/v1/${collection}/[{]id[}]"
exclude-method = "DELETE"
parameters = { "path.id" = { dictionary = "${collection}", probability = 0.8 } }`,
  )
  const refusing = Object.entries({ ...beyondSchema, ...dependsOnRows }).map(
    ([id, why]) => `
[[operations]]
include-operation-id = "${id}"
# ${why}
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "410"]`,
  )
  return `
base-url = "${url}"
hooks = ${JSON.stringify(join(import.meta.dir, "formats.py"))}
headers = { Authorization = "Bearer ${key}" }
request-timeout = 30
# PostgreSQL has no U+0000 in a text: it is refused everywhere.
generation = { allow-x00 = false }

[dictionaries]
${Object.entries(rows)
  .map(([collection, id]) => `${collection} = { values = ["${id}"] }`)
  .join("\n")}

# A retired agent is deleted for good and answers everything with 410, also to input that is right.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "410"]

[[operations]]
include-operation-id = "stream_events"
# The answer never ends.
enabled = false

[[operations]]
include-path-regex = "^/api/v1/(agents|certificates)/"
# What is retired or archived stays readable: an inventory forgets nothing.
checks.use_after_free.enabled = false

[[operations]]
include-path-regex = "^/api/v1/certificates/[{]id[}]/export/"
# A certificate that was just created has nothing to export: 404 is its documented answer until something was issued.
checks.ensure_resource_availability.enabled = false

[[operations]]
include-operation-id = ["test_issuer"]
# 500 is its documented way to say that the CA could not be used.
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "500"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "500"]

[[operations]]
include-operation-id = ["get_crl", "get_ca_certificate", "get_ocsp_response", "post_ocsp_request"]
# 501 says that the issuer has no CA here; OCSP requests are DER or base64, which no schema tells.
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "501"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "501"]
${refusing.join("\n")}
${existing.join("\n")}
`
}

const run = async (argv: readonly [string, ...string[]]): Promise<number> =>
  await Bun.spawn([...argv], { stdio: ["ignore", "inherit", "inherit"] }).exited

if (!existsSync(schemathesis)) {
  mkdirSync(cache, { recursive: true })
  const pip = join(cache, "bin/pip")
  const failed =
    (await run(["python3", "-m", "venv", cache])) || (await run([pip, "install", "-q", `schemathesis==${version}`]))
  if (failed !== 0) process.exit(failed)
}

const stage = openStage()
const smtp = await startSmtp({ starttls: false, auth: false })
stage.onEnd(() => smtp.stop())
let code = 1
try {
  const key = "a key that only this run of schemathesis has"
  const server = await serverProcess(stage, {
    adminKey: key,
    env: {
      CERTCTL_SERVER_TLS: "off",
      CERTCTL_API_KEYS_NAMED: `tester:${key}:admin`,
      CERTCTL_LOG_LEVEL: "info",
      CERTCTL_DIGEST_ENABLED: "true",
      CERTCTL_DIGEST_RECIPIENTS: "ops@example.com",
      CERTCTL_SMTP_HOST: "localhost",
      CERTCTL_SMTP_PORT: String(smtp.port),
      CERTCTL_SMTP_USE_TLS: "false",
      CERTCTL_SMTP_FROM_ADDRESS: "certctl@example.com",
    },
  })
  await server.start()
  const config = stage.at("schemathesis.toml")
  const send: Send = ({ method, path, key: asked, body }) =>
    fetch(server.url + path, {
      method,
      headers: asked === null ? {} : { authorization: `Bearer ${asked}` },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
  const described = await fetch(`${server.url}/api/v1/openapi.json`, { headers: { authorization: `Bearer ${key}` } })
  const world = await worldOf({
    document: readDocument(await described.json()),
    send,
    adminKey: key,
    folder: stage.folder,
    seed: 1,
  })
  writeFileSync(config, toml(server.url, key, await rowsOf(world)))
  const address = `${server.url}/api/v1/openapi.json`
  code = await run([schemathesis, "--config-file", config, "run", address, "--checks", "all", ...process.argv.slice(2)])
  const faults = server
    .log()
    .split("\n")
    .filter((line) => line.includes('"level":"error"'))
  if (faults.length > 0) {
    console.log(`\nThe server logged ${faults.length} errors, the first: ${faults[0]}`)
    code ||= 1
  }
} finally {
  await stage.end()
}
process.exit(code)
