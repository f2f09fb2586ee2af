/**
 * Which objects certctl has made on a BIG-IP for one profile, kept on the agent's host. Written down before they are made, so that
 * what a killed run left is found; objects of other profiles and of people are never in it.
 */
import { createHash, randomBytes } from "node:crypto"
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as v from "valibot"
import { AppError, messageOf } from "../../errors"

const Record = v.object({
  /** For people who look into the folder. */
  place: v.string(),
  objects: v.array(v.object({ kind: v.picklist(["cert", "key"]), path: v.string() })),
  /** Files in the device's upload folder that may still hold a key. */
  uploads: v.array(v.string()),
})

export type OwnObject = v.InferOutput<typeof Record>["objects"][number]

export const ownObjects = (stateFolder: string, place: string) => {
  const file = join(stateFolder, `f5-${createHash("sha256").update(place).digest("hex").slice(0, 24)}.json`)

  const read = (): v.InferOutput<typeof Record> => {
    try {
      return v.parse(Record, JSON.parse(readFileSync(file, "utf8")))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return { place, objects: [], uploads: [] }
      throw new AppError("internal", `${file} cannot be read: ${messageOf(error)}; remove it to go on`, {
        cause: error,
      })
    }
  }
  const change = (changed: Partial<v.InferOutput<typeof Record>>): void => {
    const temporary = `${file}.${randomBytes(6).toString("hex")}.tmp`
    try {
      writeFileSync(temporary, JSON.stringify({ ...read(), ...changed }), { mode: 0o600, flag: "wx", flush: true })
      renameSync(temporary, file)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  }
  return {
    objects: () => read().objects,
    uploads: () => read().uploads,
    add: (objects: readonly OwnObject[], uploads: readonly string[]) =>
      change({ objects: [...read().objects, ...objects], uploads: [...read().uploads, ...uploads] }),
    forgetObject: (path: string) => change({ objects: read().objects.filter((object) => object.path !== path) }),
    forgetUpload: (name: string) => change({ uploads: read().uploads.filter((upload) => upload !== name) }),
  }
}
