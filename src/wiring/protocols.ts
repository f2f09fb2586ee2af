/** Servers for other people's clients: mounted at the root, each with its own authentication. */
import { Hono } from "hono"
import { acmeRoutes } from "../protocols/acme/acme.routes"
import { estRoutes } from "../protocols/est/est.routes"
import { scepRoutes } from "../protocols/scep/scep.routes"
import type { ApiEnv } from "../server/operation"
import type { Services } from "./services"

export const protocolRoutes = ({
  revocationStatus,
  est,
  scep,
  acme,
}: Pick<Services, "revocationStatus" | "est" | "scep" | "acme">) =>
  new Hono<ApiEnv>()
    .route("/", revocationStatus.routes)
    .route("/", estRoutes(est))
    .route("/", scepRoutes(scep))
    .route("/", acmeRoutes(acme.server))
