/**
 * The plan that the servers which read PEM files share: files, the product's own check of them, its reload, the proof on
 * the wire. What differs is which files there are, what is in them and which commands there are.
 */
import { AppError, messageOf } from "../../errors"
import type { ConfiguredCommand, Material, PlannedPlace, PlanStep, Target, TargetDeps } from "./contract"
import { type ProofConfig, placement, proofSteps, retentionIn } from "./file-target"

/** A file of the plan: where it goes, the configuration key that says so, and what is in it. */
export interface PemFile extends PlannedPlace {
  readonly key: string
  content(material: Material): string
}

/** Each text on lines of its own; empty ones are left out. */
export const joinPem = (...texts: readonly string[]): string =>
  texts
    .filter((text) => text.trim() !== "")
    .map((text) => `${text.trimEnd()}\n`)
    .join("")

export const leafOnly = ({ certPem }: Material): string => joinPem(certPem)
/** The leaf, then the rest of its chain. */
export const fullChain = ({ certPem, chainPem }: Material): string => joinPem(certPem, chainPem)

interface Place {
  readonly key: string
  readonly path: string
  /** Users of whom the first that exists owns a new file. */
  readonly users: readonly string[]
}
type Mode = string | number | undefined

const pemFile = (
  { key, path, users }: Place,
  isKey: boolean,
  placed: ReturnType<typeof placement>,
  content: PemFile["content"],
): PemFile => ({
  key,
  path,
  isKey,
  defaultMode: isKey ? 0o600 : 0o644,
  defaultUsers: users,
  ...placed,
  content,
})

type CertPlacement = Readonly<Partial<Record<"cert_file_mode" | "cert_file_owner" | "cert_file_group", Mode>>>
type ChainPlacement = Readonly<Partial<Record<"chain_file_mode" | "chain_file_owner" | "chain_file_group", Mode>>>
type KeyPlacement = Readonly<Partial<Record<"key_file_mode" | "key_file_owner" | "key_file_group", Mode>>>
type CombinedPlacement = Readonly<Partial<Record<"pem_file_mode" | "pem_file_owner" | "pem_file_group", Mode>>>

export const certificateFile = (
  place: Place,
  config: CertPlacement,
  content: PemFile["content"] = fullChain,
): PemFile =>
  pemFile(place, false, placement(config.cert_file_mode, config.cert_file_owner, config.cert_file_group), content)

export const chainFile = (place: Place, config: ChainPlacement): PemFile =>
  pemFile(
    place,
    false,
    placement(config.chain_file_mode, config.chain_file_owner, config.chain_file_group),
    ({ chainPem }) => joinPem(chainPem),
  )

export const keyFile = (place: Place, config: KeyPlacement): PemFile =>
  pemFile(place, true, placement(config.key_file_mode, config.key_file_owner, config.key_file_group), ({ keyPem }) =>
    joinPem(keyPem),
  )

/** Leaf, chain and key in one file. */
export const combinedFile = (place: Place, config: CombinedPlacement): PemFile =>
  pemFile(
    place,
    true,
    placement(config.pem_file_mode, config.pem_file_owner, config.pem_file_group),
    ({ certPem, chainPem, keyPem }) => joinPem(certPem, chainPem, keyPem),
  )

/**
 * The files of a configuration with `cert_path`, `chain_path` and `key_path`. Without `chain_path` the chain follows the
 * leaf; without `key_path` no key is written.
 */
export const certChainKey = (
  config: CertPlacement &
    ChainPlacement &
    KeyPlacement & {
      readonly cert_path: string
      readonly chain_path?: string | undefined
      readonly key_path?: string | undefined
    },
  users: readonly string[],
): { cert: PemFile; chain: PemFile[]; key: PemFile[] } => {
  const { cert_path, chain_path, key_path } = config
  const hasChainFile = chain_path !== undefined
  return {
    cert: certificateFile({ key: "cert_path", path: cert_path, users }, config, hasChainFile ? leafOnly : fullChain),
    chain: hasChainFile ? [chainFile({ key: "chain_path", path: chain_path, users }, config)] : [],
    key: key_path === undefined ? [] : [keyFile({ key: "key_path", path: key_path, users }, config)],
  }
}

export interface PemTarget {
  /** Begins the deployment's id. */
  readonly product: string
  /** Written in this order, restored in this order. */
  readonly files: readonly PemFile[]
  readonly validate?: ConfiguredCommand | undefined
  /** The check reads none of the files. */
  readonly validatesFirst?: boolean
  readonly reload?: ConfiguredCommand | undefined
  readonly config: ProofConfig & Readonly<Record<string, unknown>> & { readonly backup_retention?: number | undefined }
}

/** The target of a server that reads PEM files. Fails with `validation` when two keys name the same file. */
export const pemTarget = (
  { product, files, validate, validatesFirst = false, reload, config }: PemTarget,
  { clock, run, checkCommand, checkPlace }: Pick<TargetDeps, "clock" | "run" | "checkCommand" | "checkPlace">,
): Target => {
  for (const [index, { key, path }] of files.entries()) {
    const same = files.slice(0, index).find((other) => other.path === path)
    if (same !== undefined) throw new AppError("validation", `${key} must name another file than ${same.key}`)
  }
  const steps: PlanStep[] = [
    ...(validate === undefined
      ? []
      : [{ kind: "validate" as const, run: validate, ...(validatesFirst ? { isBeforeFiles: true } : {}) }]),
    ...(reload === undefined ? [] : [{ kind: "reload" as const, run: reload }]),
    ...proofSteps(config),
  ]
  return {
    plan: (material) => ({
      address: files[0]?.path ?? product,
      deploymentId: deploymentId(product, clock.now()),
      files: files.map(({ key: _, content, ...place }) => ({ ...place, bytes: Buffer.from(content(material)) })),
      steps,
      backupRetention: retentionIn(config.backup_retention),
    }),

    async check() {
      for (const { key, content: _, ...place } of files) {
        await checkPlace(place).catch((error) => {
          throw new AppError("validation", `${key}: ${messageOf(error)}`, { cause: error })
        })
      }
      if (reload !== undefined) checkCommand(reload)
      // Judges what is there now: that it can be run, and that nothing else in the product's configuration is wrong.
      if (validate !== undefined) await run(validate)
    },
  }
}

/** `<product>-<unix seconds>`. */
export const deploymentId = (product: string, now: Date): string => `${product}-${Math.floor(now.getTime() / 1000)}`
