/** The console's files. Their names carry a digest of their contents, so browsers may keep them for ever. */
import { Hono } from "hono"
import { embeddedFolder } from "../../src/embed"
import { AppError } from "../../src/errors"
import type { ApiEnv } from "../../src/server/operation"

const types: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  png: "image/png",
  woff2: "font/woff2",
}

export const assetRoom = () =>
  new Hono<ApiEnv>()
    .get("/assets/:name", async (c) => {
      const name = c.req.param("name")
      const type = types[name.slice(name.lastIndexOf(".") + 1)]
      const file = Bun.file(embeddedFolder("assets", name))
      if (type === undefined || !/^[\w-]+\.\w+$/.test(name) || !(await file.exists())) {
        throw new AppError("not_found", "there is no such asset")
      }
      return c.body(await file.bytes(), 200, {
        "content-type": type,
        "cache-control": "public, max-age=31536000, immutable",
      })
    })
    // Pages bring their icon with them; this is for browsers that ask regardless.
    .get("/favicon.ico", (c) => c.body(null, 204, { "cache-control": "public, max-age=86400" }))
    .get("/robots.txt", (c) => c.text("User-agent: *\nDisallow: /\n"))
