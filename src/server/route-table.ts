/** What the router cannot tell: which methods a path has, and in which order routes must be registered. */
import type { Hono } from "hono"
import { TrieRouter } from "hono/router/trie-router"
import type { ApiEnv } from "./operation"

export type Route = Hono<ApiEnv>["routes"][number]

const kindOfSegment = (segment: string): number => (segment.startsWith(":") ? 1 : segment.includes("*") ? 2 : 0)

const compare = (a: readonly string[], b: readonly string[]): number => {
  for (let place = 0; place < Math.min(a.length, b.length); place += 1) {
    const difference = kindOfSegment(a[place] ?? "") - kindOfSegment(b[place] ?? "")
    if (difference !== 0) return difference
  }
  return 0
}

/**
 * The router takes the first route that matches. Sorted so, `/agents/retired` comes before `/agents/:id` however the files are
 * written; the sort is stable, so the middleware of one route keeps its order.
 */
export const literalFirst = (routes: readonly Route[]): Route[] =>
  routes
    .map((route) => ({ route, segments: route.path.split("/") }))
    .sort((a, b) => compare(a.segments, b.segments))
    .map(({ route }) => route)

/** Answers which methods a path would have had. Middleware (any method) does not count. */
export const allowedMethods = (routes: readonly Route[]) => {
  const router = new TrieRouter<string>()
  const known = new Set<string>()
  for (const { method, path } of routes) {
    if (method === "ALL" || known.has(`${method} ${path}`)) continue
    known.add(`${method} ${path}`)
    router.add("GET", path, method)
  }
  return (path: string): string[] => {
    const methods = new Set(router.match("GET", path)[0].map(([method]) => method))
    if (methods.has("GET")) methods.add("HEAD")
    return [...methods].sort()
  }
}
