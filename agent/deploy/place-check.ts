/** Finds out before a deployment whether a file could be put where a target's configuration says. */
import { randomBytes } from "node:crypto"
import { open, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { PlannedPlace } from "../../src/connectors/targets/contract"
import { AppError, messageOf } from "../../src/errors"
import { placementOf, presentFile, resolveDestination } from "./durable-files"

/** Fails with `validation`, naming the path and the reason. The file it tries to write is another one, and is gone when it returns. */
export const checkPlace = async (place: PlannedPlace): Promise<void> => {
  const real = await resolveDestination(place.path)
  const folder = dirname(real)
  const present = await presentFile(real).catch((error) => {
    throw new AppError("validation", `${place.path} cannot be read, so it could not be kept: ${messageOf(error)}`)
  })
  placementOf(place, present)
  // Tried instead of asked: rights, read-only file systems and security modules all have a say.
  const attempt = join(folder, `.certctl-write-test.${randomBytes(6).toString("hex")}`)
  try {
    const handle = await open(attempt, "wx", 0o600)
    try {
      await handle.writeFile("\n")
    } finally {
      await handle.close()
      await rm(attempt, { force: true })
    }
  } catch (error) {
    throw new AppError("validation", `${folder} cannot be written to by the agent: ${messageOf(error)}`, {
      cause: error,
    })
  }
  const user = process.getuid?.()
  const { mode, uid } = await stat(folder)
  const isSticky = (mode & 0o1000) !== 0
  if (present !== null && isSticky && user !== 0 && user !== present.uid && user !== uid) {
    throw new AppError(
      "validation",
      `${place.path} belongs to somebody else in a folder where only owners replace files`,
    )
  }
}
