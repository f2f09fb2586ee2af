/** The console over the whole server on a test database, and visitors of each role who read its pages and send its forms. */
import { tmpdir } from "node:os"
import { readConfig } from "../config"
import type { Db } from "../db/db"
import { openSealer } from "../secrets/sealing"
import { wire } from "../wiring"
import { tester } from "./assembled-app"
import { tickingClock } from "./resource-api"

const origin = "https://certctl.example:8443"

export type FormFields = Readonly<Record<string, string | readonly string[]>>

export const openConsole = async (db: Db, env: Readonly<Record<string, string>> = {}) => {
  const clock = tickingClock()
  const config = readConfig({
    CERTCTL_DATA_DIR: tmpdir(),
    CERTCTL_PUBLIC_URL: origin,
    CERTCTL_RATE_LIMIT_ENABLED: "false",
    ...env,
  })
  const sealer = await openSealer({ passphrase: "a passphrase for tests only, 0123456789" })
  const { app, services, access } = wire({ config, db, sealer, clock, serverId: "server-1", caFingerprint: "" })

  /** A person with the role, signed in. */
  const visitor = async (role: "admin" | "operator" | "viewer") => {
    const { key } = await access.keys.create({ name: `visitor-${role}`, role }, tester)
    const { token } = await access.sessions.signIn(key, "192.0.2.1")
    const headers = { cookie: `__Host-certctl=${token}`, origin, accept: "text/html" }
    const send = async (path: string, init: RequestInit) => {
      const answer = await app.request(`${origin}${path}`, { ...init, headers: { ...headers, ...init.headers } })
      return {
        status: answer.status,
        location: answer.headers.get("location") ?? "",
        cacheControl: answer.headers.get("cache-control") ?? "",
        text: await answer.text(),
      }
    }
    return {
      get: (path: string) => send(path, {}),
      post: (path: string, fields: FormFields = {}) => {
        const body = new FormData()
        for (const [name, value] of Object.entries(fields)) {
          for (const one of typeof value === "string" ? [value] : value) body.append(name, one)
        }
        return send(path, { method: "POST", body })
      },
    }
  }

  return { clock, services, access, visitor }
}
