/** Passwords for one SCEP enrolment each, below /api/v1/scep. */
import { Hono } from "hono"
import * as v from "valibot"
import { type ApiEnv, input, operation } from "../server/operation"
import { requiredTime, WireTime } from "../server/wire"
import { type ChallengeService, longestChallengeTtlSeconds } from "./challenge.service"

const ChallengeBody = v.object({
  profile: v.optional(v.pipe(v.string(), v.maxLength(255))),
  ttl_seconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(longestChallengeTtlSeconds))),
})

const NewChallengeAnswer = v.pipe(
  v.object({
    id: v.string(),
    /** The password; only here. */
    challenge: v.string(),
    profile: v.string(),
    created_by: v.string(),
    created_at: WireTime,
    expires_at: WireTime,
  }),
  v.metadata({ ref: "NewScepChallenge" }),
)

export const challengeRoutes = (challenges: ChallengeService) =>
  new Hono<ApiEnv>().post(
    "/challenges",
    operation({
      id: "create_scep_challenge",
      summary: "Make a password that is good for one SCEP enrolment",
      role: "operator",
      returns: NewChallengeAnswer,
      status: 201,
      errors: { 404: "There is no such SCEP profile" },
    }),
    input("json", ChallengeBody),
    async (c) => {
      const { profile, ttl_seconds } = c.req.valid("json")
      const made = await challenges.create({ pathId: profile, ttlSeconds: ttl_seconds }, c.get("actor"))
      return c.json(
        {
          id: made.id,
          challenge: made.challenge,
          profile: made.pathId,
          created_by: made.createdBy,
          created_at: requiredTime(made.createdAt),
          expires_at: requiredTime(made.expiresAt),
        },
        201,
      )
    },
  )
