/** Servers for other people's clients: mounted at the root, each with its own authentication. */
import { Hono } from "hono"
import { estRoutes } from "../protocols/est/est.routes"
import type { ApiEnv } from "../server/operation"
import type { Services } from "./services"

export const protocolRoutes = ({ revocationStatus, est }: Pick<Services, "revocationStatus" | "est">) =>
  new Hono<ApiEnv>().route("/", revocationStatus.routes).route("/", estRoutes(est))
