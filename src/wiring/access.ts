/** Who may come in: keys, sessions, join tokens. */
import { apiKeyService } from "../access/api-key.service"
import { apiKeyStore } from "../access/api-key.store"
import { authentication } from "../access/authentication"
import { ensureInitialAdminKey, forgetInitialAdminKey } from "../access/initial-admin-key"
import { loginThrottle } from "../access/login-throttle"
import { sameHash, secretHash } from "../access/secrets"
import { sessionService } from "../access/session.service"
import { sessionStore } from "../access/session.store"
import { sessionCookie } from "../access/session-cookie"
import type { WiringOptions } from "./options"
import type { Services } from "./services"

export const wireAccess = ({ config, db, clock }: WiringOptions, { audit, agents, tokens }: Services) => {
  const sessions = sessionStore(db)
  const store = apiKeyStore(db)
  const keys = apiKeyService({
    db,
    keys: store,
    sessions,
    audit,
    clock,
    configured: config.auth.keys,
    findAgentByKeyHash: agents.findByKeyHash,
    onCreated: () => forgetInitialAdminKey(config.dataDir),
  })
  const sessionsService = sessionService({ db, sessions, keys, throttle: loginThrottle(clock), audit, clock })
  const bootstrapHash = config.auth.agentBootstrapToken === null ? null : secretHash(config.auth.agentBootstrapToken)
  const cookie = sessionCookie(config.server.publicUrl.startsWith("https:"))
  const who = authentication({
    mode: config.auth.type,
    keys,
    sessions: sessionsService,
    cookie,
    registration: {
      exclusive: bootstrapHash !== null,
      async check(token) {
        if (bootstrapHash !== null && sameHash(bootstrapHash, secretHash(token))) {
          return { name: "bootstrap-token", type: "System", role: "operator" }
        }
        const row = await tokens.check(token)
        return row === null ? null : { name: row.createdBy, type: "User", role: "operator", joinTokenId: row.id }
      },
    },
  })
  return {
    keys,
    sessions: sessionsService,
    cookie,
    authentication: who,
    /** Makes the first key where there is none anywhere. */
    ensureFirstKey: () =>
      config.auth.type === "none" || config.auth.keys.length > 0
        ? Promise.resolve(null)
        : ensureInitialAdminKey({ db, keys: store, audit, clock, dataDir: config.dataDir }),
  }
}
