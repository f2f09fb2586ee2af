/**
 * ACME over HTTP (RFC 8555, RFC 9773): a directory per certificate profile below /acme/profile/{id}, that of the default profile
 * below /acme too. Failures are problem documents, and every answer brings the nonce of the next request.
 */
import { type Context, Hono } from "hono"
import * as v from "valibot"
import type { AccountService } from "../../acme/account.service"
import type { AcmeMetrics, AcmeOperation } from "../../acme/acme.metrics"
import { problemDocument, problemName } from "../../acme/acme.problem"
import {
  AccountAnswer,
  AuthorizationAnswer,
  accountView,
  authorizationView,
  ChallengeAnswer,
  challengeView,
  DirectoryAnswer,
  directoryView,
  OrderAnswer,
  orderView,
  RenewalInfoAnswer,
} from "../../acme/acme.schema"
import type { ChallengeService } from "../../acme/challenge.service"
import type { Door } from "../../acme/door"
import type { FinalizeService } from "../../acme/finalize.service"
import type { NonceService } from "../../acme/nonce.service"
import type { OrderService } from "../../acme/order.service"
import type { RenewalInfoService } from "../../acme/renewal-info.service"
import type { RequestService, SignedRequest, VerifiedAccount } from "../../acme/request.service"
import type { RevokeService } from "../../acme/revoke.service"
import { AppError } from "../../errors"
import { problemOf } from "../../server/error-answers"
import { type ApiEnv, input, operation } from "../../server/operation"
import { requiredTime } from "../../server/wire"

export interface AcmeServer {
  /** Without a trailing slash. */
  readonly publicUrl: string
  readonly settings: Parameters<typeof directoryView>[1] & { readonly renewalInfoPollMs: number }
  readonly metrics: AcmeMetrics
  readonly nonces: Pick<NonceService, "issue">
  readonly open: (profileId: string | null) => Promise<Door>
  readonly requests: RequestService
  readonly accounts: AccountService
  readonly orders: OrderService
  readonly certificates: FinalizeService
  readonly challenges: Pick<ChallengeService, "respond">
  readonly revocations: RevokeService
  readonly renewalInfo: Pick<RenewalInfoService, "window">
}

/** How long a client should wait before it looks at a challenge or an order again. */
const lookAgainSeconds = "3"

const errors = {
  404: "There is no such profile or row",
  409: "Another account or order is in the way",
  415: "The body is not application/jose+json",
  500: "The server or its issuer failed",
  503: "The database or the issuer is away",
}

const signedRequest = async (c: Context<ApiEnv>, server: AcmeServer): Promise<SignedRequest> => ({
  url: server.publicUrl + new URL(c.req.url).pathname,
  contentType: c.req.header("content-type"),
  body: await c.req.text(),
})

type Run = (c: Context<ApiEnv>, server: AcmeServer, door: Door) => Promise<Response> | Response

/** The routes of one prefix. `label`: the pattern of the profile's id, if it has one. */
const doorRoutes = (acme: AcmeServer | null, prefix: string, name: string, label: boolean) => {
  const base = label ? `${prefix}/:profile` : prefix
  const Params = (...ids: string[]) =>
    v.object(Object.fromEntries([...(label ? ["profile"] : []), ...ids].map((id) => [id, v.string()])))
  const declared = (id: string, summary: string) => ({
    id: `${name}_${id}`,
    summary: `ACME: ${summary}`,
    role: "public" as const,
    tags: ["acme"],
    errors,
  })

  const failure = (error: unknown, count: (result: string) => void): Response => {
    const problem = problemDocument(error)
    // Logs what the client is not told.
    if (problem.status >= 500) problemOf(error)
    count(problemName(problem))
    return Response.json(problem.body, {
      status: problem.status,
      headers: { ...problem.headers, "content-type": "application/problem+json" },
    })
  }

  const answered =
    (what: AcmeOperation, run: Run) =>
    async (c: Context<ApiEnv>): Promise<Response> => {
      if (acme === null) return failure(new AppError("not_found", "the ACME server is off"), () => {})
      const count = (result: string) => acme.metrics.answered(what, result)
      let response: Response
      let door: Door | null = null
      try {
        door = await acme.open(label ? (c.req.param("profile") ?? "") : null)
        response = await run(c, acme, door)
        count("success")
      } catch (error) {
        response = failure(error, count)
      }
      try {
        response.headers.set("replay-nonce", await acme.nonces.issue())
      } catch (error) {
        // The answer stands without: its client fetches a nonce, or tries to.
        problemOf(error)
        if (what === "new_nonce") return failure(error, count)
      }
      response.headers.set("cache-control", "no-store")
      if (door !== null) response.headers.append("link", `<${door.base}/directory>;rel="index"`)
      return response
    }

  /** For requests that an account has signed. */
  const signed = (
    what: AcmeOperation,
    run: (verified: VerifiedAccount, c: Context<ApiEnv>, door: Door, server: AcmeServer) => Promise<Response>,
  ) =>
    answered(what, async (c, server, door) => {
      const verified = await server.requests.byAccount(door, await signedRequest(c, server))
      return run(verified, c, door, server)
    })

  const param = (c: Context<ApiEnv>, id: string): string => c.req.param(id) ?? ""

  const orderAnswer = async (
    server: AcmeServer,
    door: Door,
    order: Parameters<OrderService["withParts"]>[0],
  ): Promise<Response> => {
    const { authorizations } = await server.orders.withParts(order)
    return Response.json(orderView(order, authorizations, door), {
      headers: {
        location: `${door.base}/order/${order.id}`,
        ...(order.status === "processing" ? { "retry-after": lookAgainSeconds } : {}),
      },
    })
  }

  return new Hono<ApiEnv>()
    .get(
      `${base}/directory`,
      operation({ ...declared("directory", "list the server's URLs"), returns: DirectoryAnswer }),
      input("param", Params()),
      answered("directory", (_c, { settings }, door) => Response.json(directoryView(door, settings))),
    )
    .get(
      `${base}/new-nonce`,
      operation({ ...declared("new_nonce", "fetch a nonce"), otherwise: { 200: null } }),
      input("param", Params()),
      // RFC 8555 section 7.2.
      answered("new_nonce", (c) => new Response(null, { status: c.req.method === "HEAD" ? 200 : 204 })),
    )
    .post(
      `${base}/new-account`,
      operation({
        ...declared("new_account", "open an account"),
        returns: AccountAnswer,
        status: 201,
        otherwise: { 200: AccountAnswer },
      }),
      input("param", Params()),
      answered("new_account", async (c, server, door) => {
        const verified = await server.requests.byKey(door, await signedRequest(c, server))
        const { account, isNew } = await server.accounts.open(door, verified)
        return Response.json(accountView(account), {
          status: isNew ? 201 : 200,
          headers: { location: `${door.base}/account/${account.id}` },
        })
      }),
    )
    .post(
      `${base}/account/:acc_id`,
      operation({ ...declared("account", "read, change or deactivate an account"), returns: AccountAnswer }),
      input("param", Params("acc_id")),
      signed("account", async (verified, c, _door, { accounts }) =>
        Response.json(accountView(await accounts.update(verified, param(c, "acc_id")))),
      ),
    )
    .post(
      `${base}/key-change`,
      operation({ ...declared("key_change", "give an account another key"), returns: AccountAnswer }),
      input("param", Params()),
      signed("key_change", async (verified, _c, door, { accounts }) => {
        const account = await accounts.changeKey(door, verified)
        return Response.json(accountView(account), { headers: { location: `${door.base}/account/${account.id}` } })
      }),
    )
    .post(
      `${base}/new-order`,
      operation({ ...declared("new_order", "order a certificate"), returns: OrderAnswer, status: 201 }),
      input("param", Params()),
      signed("new_order", async (verified, _c, door, { orders }) => {
        const { order, authorizations } = await orders.create(door, verified)
        return Response.json(orderView(order, authorizations, door), {
          status: 201,
          headers: { location: `${door.base}/order/${order.id}` },
        })
      }),
    )
    .post(
      `${base}/order/:ord_id`,
      operation({ ...declared("order", "read an order"), returns: OrderAnswer }),
      input("param", Params("ord_id")),
      signed("order", async (verified, c, door, server) =>
        orderAnswer(server, door, await server.certificates.look(door, verified, param(c, "ord_id"))),
      ),
    )
    .post(
      `${base}/order/:ord_id/finalize`,
      operation({ ...declared("finalize", "hand in the CSR of an order"), returns: OrderAnswer }),
      input("param", Params("ord_id")),
      signed("finalize", async (verified, c, door, server) =>
        orderAnswer(server, door, await server.certificates.finalize(door, verified, param(c, "ord_id"))),
      ),
    )
    .post(
      `${base}/authz/:authz_id`,
      operation({ ...declared("authz", "read or give up an authorization"), returns: AuthorizationAnswer }),
      input("param", Params("authz_id")),
      signed("authorization", async (verified, c, door, { orders }) => {
        const { authorization, challenges } = await orders.authorization(verified, param(c, "authz_id"))
        return Response.json(authorizationView(authorization, challenges, door), {
          headers: authorization.status === "pending" ? { "retry-after": lookAgainSeconds } : {},
        })
      }),
    )
    .post(
      `${base}/challenge/:chall_id`,
      operation({ ...declared("challenge", "say that a proof is in place"), returns: ChallengeAnswer }),
      input("param", Params("chall_id")),
      signed("challenge", async (verified, c, door, { challenges }) => {
        const { challenge, authorization } = await challenges.respond(verified, param(c, "chall_id"))
        return Response.json(challengeView(challenge, door), {
          headers: {
            link: `<${door.base}/authz/${authorization.id}>;rel="up"`,
            ...(challenge.status === "processing" ? { "retry-after": lookAgainSeconds } : {}),
          },
        })
      }),
    )
    .post(
      `${base}/cert/:cert_id`,
      operation({ ...declared("cert", "download a certificate"), produces: "application/pem-certificate-chain" }),
      input("param", Params("cert_id")),
      signed("certificate", async (verified, c, _door, { certificates }) => {
        const { pemChain } = await certificates.certificate(verified, param(c, "cert_id"))
        return new Response(pemChain, { headers: { "content-type": "application/pem-certificate-chain" } })
      }),
    )
    .post(
      `${base}/revoke-cert`,
      operation({ ...declared("revoke_cert", "revoke a certificate"), status: 200 }),
      input("param", Params()),
      answered("revoke_cert", async (c, server, door) => {
        await server.revocations.revoke(door, await server.requests.byEither(door, await signedRequest(c, server)))
        return new Response(null, { status: 200 })
      }),
    )
    .get(
      `${base}/renewal-info/:cert_id`,
      operation({ ...declared("renewal_info", "ask when to renew"), returns: RenewalInfoAnswer }),
      input("param", Params("cert_id")),
      answered("renewal_info", async (c, { settings, renewalInfo }, door) => {
        if (!settings.renewalInfo) throw new AppError("not_found", "renewal information is off")
        const { start, end } = await renewalInfo.window(door, param(c, "cert_id"))
        return Response.json(
          { suggestedWindow: { start: requiredTime(start), end: requiredTime(end) } },
          { headers: { "retry-after": String(Math.ceil(settings.renewalInfoPollMs / 1000)) } },
        )
      }),
    )
}

/** null: the ACME server is off, and nothing is there. */
export const acmeRoutes = (acme: AcmeServer | null) =>
  new Hono<ApiEnv>()
    .route("/", doorRoutes(acme, "/acme/profile", "acme_profile", true))
    .route("/", doorRoutes(acme, "/acme", "acme", false))
