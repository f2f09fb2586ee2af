/** Signing in and out, and how the console looks to this browser. */
import { Hono } from "hono"
import { setCookie } from "hono/cookie"
import { returnPath } from "../../src/access/return-path"
import { AppError } from "../../src/errors"
import type { ApiEnv } from "../../src/server/operation"
import { signInPage } from "../pages/sign-in.page"
import { bareFrame, type ConsoleDeps, formOf, page, pageBefore, queryOf, redirect, themeCookie, themes } from "./room"

const yearSeconds = 365 * 86_400

export const accessRoom = ({ sessions, cookie, publicUrl }: ConsoleDeps) =>
  new Hono<ApiEnv>()
    .get("/login", (c) => {
      const query = queryOf(c)
      const back = returnPath(query.get("next") ?? query.get("return") ?? undefined)
      // Set only where somebody is behind the request: their session, or nobody's when authentication is off.
      if (c.get("actor") !== undefined) return redirect(c, back)
      const isExpired = (cookie.read(c) ?? "") !== ""
      return page(c, signInPage({ frame: bareFrame(c), back, problem: isExpired ? "expired" : null }))
    })
    .post("/login", async (c) => {
      const form = await formOf(c)
      const back = returnPath(form.text("back"))
      try {
        const { token } = await sessions.signIn(form.text("key"), c.get("clientAddress"))
        cookie.set(c, token)
        return redirect(c, back)
      } catch (error) {
        if (!(error instanceof AppError) || (error.code !== "unauthenticated" && error.code !== "rate_limited"))
          throw error
        const isTooMany = error.code === "rate_limited"
        const answer = page(
          c,
          signInPage({ frame: bareFrame(c), back, problem: isTooMany ? "too-many" : "wrong-key" }),
          isTooMany ? 429 : 403,
        )
        return answer
      }
    })
    .post("/logout", async (c) => {
      const session = c.get("session")
      if (session !== undefined) await sessions.signOut(session.idHash, c.get("actor"))
      cookie.clear(c)
      return redirect(c, "/login")
    })
    .post("/preferences/theme", async (c) => {
      const form = await formOf(c)
      const theme = themes.find((one) => one === form.text("theme"))
      if (theme === undefined) throw new AppError("validation", `theme must be one of ${themes.join(", ")}`)
      // In the browser and not with the key: a screen is bright or dark whoever signs in, and the sign-in page has a look too.
      setCookie(c, themeCookie, theme, {
        path: "/",
        maxAge: yearSeconds,
        httpOnly: true,
        sameSite: "Strict",
        secure: publicUrl.startsWith("https:"),
      })
      const isForm = (c.req.header("accept") ?? "").includes("text/html")
      return isForm ? redirect(c, pageBefore(c, form.text("back"), "/")) : c.body(null, 204)
    })
