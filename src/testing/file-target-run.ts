/** A product with a certificate in files, and what tests do to it with an engine of their own. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs"
import type { Material } from "../connectors/targets/contract"
import { parseCertificate } from "../pki/certificate"
import { type Deployable, deploying } from "./deploying"
import type { FilePeer, FileProduct } from "./products/product"
import { type RunningPeer, startPeer } from "./products/running-peer"
import { openStage, type Stage } from "./stage"

export interface ScenarioRun extends RunningPeer<FilePeer> {
  deploy(
    leaf: Deployable,
    extra?: Record<string, unknown>,
    material?: Partial<Material>,
  ): ReturnType<ReturnType<typeof deploying>["deploy"]>
  /** What it serves once the workers of before the last reload are gone. */
  current(): Promise<string>
  /** One letter for each byte. */
  onDisk(): string[]
  journals(): string[]
}

/** The product with its first certificate, on a stage of its own. */
export const openRun = async (product: FileProduct): Promise<ScenarioRun> => {
  const ownStage = openStage()
  const running = await startPeer(ownStage, product).catch(async (error) => {
    await ownStage.end()
    throw error
  })
  const { stage, peer, authority, served } = running
  const onDisk = () => peer.files.map((path) => (existsSync(path) ? readFileSync(path, "latin1") : ""))
  return {
    ...running,
    deploy: (deployed, extra = {}, material = {}) =>
      deploying(stage.at("agent")).deploy(
        product.connector,
        { ...peer.config, ...extra },
        deployed,
        authority.certPem,
        material,
      ),
    current: async () => {
      const [text = ""] = onDisk()
      return text.includes("BEGIN CERTIFICATE") ? parseCertificate(text).fingerprint : served()
    },
    onDisk,
    journals: () => (existsSync(stage.at("agent/journal")) ? readdirSync(stage.at("agent/journal")) : []),
  }
}

/** A file system of 64 KiB in a new folder, gone with the stage; null where mounting is not permitted. */
export const smallDisk = (stage: Stage, name: string): string | null => {
  const folder = stage.at(name)
  mkdirSync(folder)
  const mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]
  if (process.getuid?.() !== 0 || Bun.spawnSync(mount).exitCode !== 0) {
    console.warn("skipped: mounting a small file system is not permitted here")
    return null
  }
  stage.onEnd(() => Bun.spawnSync(["umount", folder]))
  return folder
}

/** Leaves room for `roomPages` pages and no more on the file system of `path`, which takes up the rest. */
export const fill = (path: string, roomPages: number): void => {
  const page = Buffer.alloc(4096)
  try {
    for (;;) writeFileSync(path, page, { flag: "a" })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error
  }
  truncateSync(path, Math.max(0, statSync(path).size - roomPages * page.length))
}
