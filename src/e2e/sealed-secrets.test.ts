/** What the database of a server shows to somebody who has only the database: no secret of any issuer, target or key. */

import { Database } from "bun:sqlite"
import { expect, setDefaultTimeout, test } from "bun:test"
import { createCipheriv, createDecipheriv, pbkdf2Sync, randomBytes } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import postgres from "postgres"
import { onEachDatabase, postgresContents } from "../testing/on-each-database"
import { encryptionKey, type ServerProcess, serverProcess } from "../testing/server-process"

// Real processes: slow machines are slow, not wrong.
setDefaultTimeout(120_000)

/** One table of SQLite or PostgreSQL, changed behind the server's back. */
const changing = async (server: ServerProcess, statement: string, sealed: Buffer, id: string): Promise<Buffer> => {
  const url = server.env.CERTCTL_DATABASE_URL
  const read = "select encrypted_config from issuers where id ="
  if (url === undefined) {
    const file = new Database(join(server.dataDir, "certctl.db"))
    if (statement !== "") file.query(`${statement} = ? where id = ?`).run(sealed, id)
    const row = file.query(`${read} ?`).get(id) as { encrypted_config: Uint8Array }
    file.close()
    return Buffer.from(row.encrypted_config)
  }
  const sql = postgres(url, { max: 1 })
  if (statement !== "") await sql.unsafe(`${statement} = $1 where id = $2`, [sealed, id])
  const [row] = await sql.unsafe(`${read} $1`, [id])
  await sql.end()
  return Buffer.from(row?.encrypted_config)
}

const contentsOf = async ({ dataDir, env }: ServerProcess): Promise<string> => {
  const url = env.CERTCTL_DATABASE_URL
  if (url !== undefined) return postgresContents(url)
  // The log too: what was overwritten is still in it.
  const files = readdirSync(dataDir).filter((name) => name.startsWith("certctl.db"))
  expect(files).toContain("certctl.db-wal")
  return files.map((name) => readFileSync(join(dataDir, name), "latin1")).join("\n")
}

/** Version 1 as it is documented, by node:crypto alone. */
const version1 = (passphrase: string, config: object): Buffer => {
  const key = pbkdf2Sync(passphrase, "certctl-config-encryption-v1", 100_000, 32, "sha256")
  const nonce = randomBytes(12)
  const cipher = createCipheriv("aes-256-gcm", key, nonce)
  return Buffer.concat([nonce, cipher.update(JSON.stringify(config)), cipher.final(), cipher.getAuthTag()])
}

onEachDatabase("sealed secrets", (open) => {
  test("are nowhere in the database, the log or an answer; rows of the first format open and are renewed at their next change", async () => {
    const { stage, env } = await open()
    const smtpPassword = `smtp-${randomBytes(12).toString("hex")}`
    const server = await serverProcess(stage, {
      env: {
        ...env,
        CERTCTL_CONFIG_ENCRYPTION_KEY: encryptionKey,
        CERTCTL_SMTP_HOST: "mail.example",
        CERTCTL_SMTP_FROM_ADDRESS: "pki@example.com",
        CERTCTL_SMTP_USERNAME: "pki",
        CERTCTL_SMTP_PASSWORD: smtpPassword,
      },
    })
    await server.start()
    const secret = (name: string) => `${name}-${randomBytes(12).toString("hex")}`
    const secrets = {
      issuer: secret("issuer"),
      replaced: secret("replaced"),
      nested: secret("nested"),
      target: secret("target"),
      oldFormat: secret("old-format"),
    }
    const config = { validity_days: 30, api_token: secrets.replaced, auth: { password: secrets.nested } }
    const issuer = await server.post("/api/v1/issuers", { name: "Lab CA", type: "local", config })
    const put = (body: object) => server.call("PUT", `/api/v1/issuers/${issuer.id}`, body)
    expect((await put({ config: { ...config, api_token: secrets.issuer } })).status).toBe(200)
    const agent = await server.post("/api/v1/agents", { name: "web-1", hostname: "web-1" })
    const files = { cert_path: "/etc/ssl/a.pem", key_path: "/etc/ssl/a.key" }
    const target = {
      name: "web",
      type: "NGINX",
      agent_id: agent.id,
      config: { ...files, bastion_password: secrets.target },
    }
    await server.post("/api/v1/targets", target)
    const made = await server.post("/api/v1/api-keys", { name: "ci", role: "viewer" })
    for (const path of ["issuers", "targets", "api-keys", "agents", "audit?per_page=500"])
      await server.get(`/api/v1/${path}`)

    const hidden = [...Object.values(secrets), smtpPassword, encryptionKey, server.adminKey]
    const answered = server.heard.join("\n")
    const contents = await contentsOf(server)
    // The search finds what is there.
    expect(contents).toContain("/etc/ssl/a.pem")
    expect(contents).toContain("validity_days")
    for (const text of [contents, answered, server.log()]) {
      expect(hidden.filter((each) => text.includes(each))).toEqual([])
      expect(text).not.toContain("PRIVATE KEY")
    }
    for (const text of [contents, server.log()]) {
      for (const key of [made.key, agent.api_key]) expect(text).not.toContain(key)
    }

    await server.stop()
    const old = version1(encryptionKey, { ...config, api_token: secrets.oldFormat })
    await changing(server, "update issuers set encrypted_config", old, issuer.id)
    await server.start()
    expect((await server.call("POST", `/api/v1/issuers/${issuer.id}/test`)).status).toBe(200)
    expect((await put({ config: { ...config, validity_days: 31, api_token: "********" } })).status).toBe(200)
    await server.stop()
    const renewed = await changing(server, "", Buffer.of(), issuer.id)
    expect(renewed[0]).toBe(0x02)
    const key = pbkdf2Sync(encryptionKey, renewed.subarray(1, 17), 100_000, 32, "sha256")
    const decipher = createDecipheriv("aes-256-gcm", key, renewed.subarray(17, 29)).setAuthTag(renewed.subarray(-16))
    const opened = Buffer.concat([decipher.update(renewed.subarray(29, -16)), decipher.final()])
    expect(JSON.parse(opened.toString())).toMatchObject({ validity_days: 31, api_token: secrets.oldFormat })
  })
})
