/**
 * The cookie of a session. `__Host-` binds it to this host and to HTTPS; browsers refuse that prefix over plain HTTP, so behind
 * `CERTCTL_SERVER_TLS=off` on a plain public URL it goes without, and without Secure.
 */
import type { Context } from "hono"
import { getCookie, setCookie } from "hono/cookie"
import type { ApiEnv } from "../server/operation"

const attributes = { path: "/", httpOnly: true, sameSite: "Strict" } as const

/** @param secure whether browsers reach the console over HTTPS */
export const sessionCookie = (secure: boolean) => {
  const name = secure ? "__Host-certctl" : "certctl"
  return {
    read: (c: Context<ApiEnv>): string | undefined => getCookie(c, name),
    /** A cookie of the browser session; the server decides when the session ends. */
    set: (c: Context<ApiEnv>, token: string): void => setCookie(c, name, token, { ...attributes, secure }),
    clear: (c: Context<ApiEnv>): void => setCookie(c, name, "", { ...attributes, secure, maxAge: 0 }),
  }
}

export type SessionCookie = ReturnType<typeof sessionCookie>
