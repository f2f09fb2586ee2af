/**
 * One deployment, or the repair after one that was killed, as a process of its own that ends itself, as if by kill -9, at a chosen one
 * of the calls by which it changes the disk. Run it with `bun test ./src/testing/deploy-once.ts`: only there can modules of the
 * runtime be replaced.
 */
import { mock, test } from "bun:test"
import { readFileSync } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import type { ConfiguredCommand, DeployPlan } from "../connectors/targets/contract"
import type { Deployable } from "./deploying"

export interface OneDeployment {
  /** Journals and state. */
  readonly folder: string
  readonly does:
    | { readonly kind: "repair" }
    | {
        readonly kind: "connector"
        readonly type: string
        readonly config: Record<string, unknown>
        readonly leaf: Deployable
        readonly chainPem: string
      }
    | { readonly kind: "plan"; readonly files: readonly OneFile[]; readonly steps: readonly OneStep[] }
  /** 1: the first call that changes something; more than there are: it lives. */
  readonly diesAt: number
  /** Whether it dies when the call is over, or before it. */
  readonly diesAfter: boolean
}

export interface OneFile {
  readonly path: string
  readonly text: string
  readonly isKey: boolean
  readonly defaultMode: number
}
export type OneStep = { readonly kind: "validate" | "reload"; readonly run: ConfiguredCommand }

const changing = new Set([
  "rename",
  "rm",
  "unlink",
  "mkdir",
  "link",
  "symlink",
  "chmod",
  "chown",
  "writeFile",
  "copyFile",
])
const changingHandle = new Set(["writeFile", "write", "sync", "datasync", "chmod", "chown", "truncate"])

if (process.env.CERTCTL_ONE_DEPLOYMENT !== undefined) {
  const { folder, does, diesAt, diesAfter } = JSON.parse(
    readFileSync(process.env.CERTCTL_ONE_DEPLOYMENT, "utf8"),
  ) as OneDeployment

  let calls = 0
  const die = () => process.kill(process.pid, "SIGKILL")
  const counted =
    (call: (...args: unknown[]) => Promise<unknown>) =>
    async (...args: unknown[]) => {
      calls++
      const isLast = calls === diesAt
      if (isLast && !diesAfter) die()
      const result = await call(...args)
      if (isLast) die()
      return result
    }
  const countedHandle = (handle: FileHandle): FileHandle =>
    new Proxy(handle, {
      get(target, name) {
        const value = Reflect.get(target, name, target)
        if (typeof value !== "function") return value
        const method = value.bind(target)
        return changingHandle.has(String(name)) ? counted(method) : method
      },
    })
  const real: Record<string, unknown> = { ...(await import("node:fs/promises")) }
  const wrapped = Object.entries(real).map(([name, value]) => {
    if (typeof value !== "function") return [name, value]
    if (changing.has(name)) return [name, counted(value as never)]
    if (name !== "open") return [name, value]
    return [
      name,
      async (...args: unknown[]) =>
        countedHandle(await (value as never as (...a: unknown[]) => Promise<FileHandle>)(...args)),
    ]
  })
  mock.module("node:fs/promises", () => Object.fromEntries(wrapped))

  const { targetConnector } = await import("../connectors/targets/catalog")
  const { deploying } = await import("./deploying")
  const world = deploying(folder)

  const carryOut = async () => {
    if (does.kind === "repair") return void (await world.engine.recover())
    if (does.kind === "connector") {
      return void (await world.deploy(targetConnector(does.type), does.config, does.leaf, does.chainPem))
    }
    const plan: DeployPlan = {
      address: "here",
      deploymentId: "test-1",
      files: does.files.map(({ text, ...file }) => ({ ...file, bytes: Buffer.from(text) })),
      steps: does.steps,
      backupRetention: undefined,
    }
    await world.engine.deploy(plan, "")
  }
  test("one deployment", async () => {
    await carryOut()
  }, 60_000)
}
