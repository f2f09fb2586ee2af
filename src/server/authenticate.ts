/** The middleware that lets nobody past without credentials, and no foreign site act with a visitor's cookie. */
import type { Context, MiddlewareHandler } from "hono"
import type { Authentication, Identity } from "../access/authentication"
import { returnPath } from "../access/return-path"
import { bareError, challenge, errorAnswer } from "./error-answers"
import type { ApiEnv } from "./operation"
import { kindOfPath } from "./path-kinds"

const isMutation = (method: string): boolean => method !== "GET" && method !== "HEAD"

/**
 * Browsers send Origin with every request that changes something, and current ones Sec-Fetch-Site. The Host header is compared too:
 * people reach a server by other names than its public URL, and a foreign page cannot choose the Host of its request to us.
 */
const isSameOrigin = (c: Context<ApiEnv>, publicOrigin: string, otherwise: boolean): boolean => {
  const origin = c.req.header("origin")
  const site = c.req.header("sec-fetch-site")
  if (origin === undefined) return site === undefined ? otherwise : site === "same-origin" || site === "none"
  if (site === "cross-site" || !URL.canParse(origin)) return false
  const { host } = new URL(origin)
  return origin === publicOrigin || host === (c.req.header("host") ?? new URL(c.req.url).host)
}

interface Options {
  readonly authentication: Authentication
  /** Base URL of the console. */
  readonly publicUrl: string
  readonly corsOrigins: readonly string[]
}

/** Pages that a visitor without a session may see. */
const openPages = new Set(["/login", "/favicon.ico", "/robots.txt"])

export const authenticate = ({ authentication, publicUrl, corsOrigins }: Options): MiddlewareHandler<ApiEnv> => {
  const publicOrigin = new URL(publicUrl).origin
  const foreign = (c: Context<ApiEnv>): Response =>
    errorAnswer(c, 403, "this request comes from another site; it must come from the console's own origin")

  const admit = (c: Context<ApiEnv>, identity: Exclude<Identity, { via: null }>): void => {
    c.set("actor", identity.actor)
    if (identity.session !== undefined) c.set("session", identity.session)
    c.set("isStillAllowed", () => authentication.isStillAllowed(c, identity.actor))
  }

  /** A key proves intent. A cookie does not, and without authentication any page in a browser could speak for its user. */
  const isIntended = (c: Context<ApiEnv>, via: Identity["via"]): boolean => {
    if (!isMutation(c.req.method) || via === "key" || via === "registration") return true
    if (via === "session") return isSameOrigin(c, publicOrigin, false)
    const origin = c.req.header("origin")
    const isListed = corsOrigins.includes("*") || (origin !== undefined && corsOrigins.includes(origin))
    return isListed || isSameOrigin(c, publicOrigin, true)
  }

  return async (c, next) => {
    const kind = kindOfPath(c.req.path)
    if (kind === "api") {
      const identity = await authentication.identify(c)
      if (identity.via === null) return bareError(c, 401, identity.reason, challenge)
      if (!isIntended(c, identity.via)) return foreign(c)
      admit(c, identity)
    }
    if (kind === "console") {
      // The sign-in form too, or a foreign page could sign a visitor in under another name.
      if (isMutation(c.req.method) && !isSameOrigin(c, publicOrigin, false)) return foreign(c)
      const identity = await authentication.identify(c)
      if (identity.via !== null) admit(c, identity)
      else if (!openPages.has(c.req.path)) return toSignIn(c)
    }
    return next()
  }
}

/** Remembers the page to return to, which for a form is the page it stands on. */
const toSignIn = (c: Context<ApiEnv>): Response => {
  const { pathname, search } = isMutation(c.req.method)
    ? new URL(c.req.header("referer") ?? "/", c.req.url)
    : new URL(c.req.url)
  return c.redirect(`/login?next=${encodeURIComponent(returnPath(pathname + search))}`, 303)
}
