/** agent.json in the data directory: which agent this host is, as `certctl agent join` wrote it down. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as v from "valibot"
import { writePrivateFile } from "../src/data-directory"
import { AppError, messageOf } from "../src/errors"

const Identity = v.object({
  server: v.string(),
  agent_id: v.pipe(v.string(), v.nonEmpty()),
  name: v.string(),
  api_key: v.pipe(v.string(), v.nonEmpty()),
  /** The CA that signs the server's certificate; null where the system's roots do. */
  ca_pem: v.nullable(v.string()),
  /** Whether that CA is the only one trusted. */
  is_ca_pinned: v.boolean(),
})

export type Identity = v.InferOutput<typeof Identity>

export const identityPath = (dataDir: string): string => join(dataDir, "agent.json")

/** Null when this host has not joined. Fails with `validation` when the file cannot be used. */
export const readIdentity = (dataDir: string): Identity | null => {
  const path = identityPath(dataDir)
  if (!existsSync(path)) return null
  try {
    return v.parse(Identity, JSON.parse(readFileSync(path, "utf8")))
  } catch (error) {
    // The parser's words could quote the key.
    const words = error instanceof v.ValiError || error instanceof SyntaxError ? "is damaged" : messageOf(error)
    throw new AppError("validation", `${path} ${words}: remove it and run certctl agent join again`)
  }
}

export const writeIdentity = (dataDir: string, identity: Identity): void =>
  writePrivateFile(identityPath(dataDir), `${JSON.stringify(identity, null, 2)}\n`)
