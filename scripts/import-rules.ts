/**
 * Who may import whom, as data: one row per part of the code base. A part that is not listed here has no rule and is
 * refused, so that a new top-level folder starts with the question what it may know.
 */
import { dirname, join, normalize } from "node:path"

export interface Violation {
  file: string
  line: number
  message: string
}

type Part =
  | "errors"
  | "clock"
  | "pki"
  | "embed"
  | "version"
  | "logging"
  | "urgency"
  | "host"
  | "config"
  | "db"
  | "secrets"
  | "connectors"
  | "feature"
  | "server"
  | "protocols"
  | "scheduler"
  | "islands"
  | "ui"
  | "client"
  | "agent"
  | "app"
  | "wiring"
  | "commands"
  | "main"
  | "drizzle"
  | "scripts"
  | "tests"

/** First match wins. A folder of src/ is the part of its name (`namedFolders`), else a feature. */
const parts: readonly (readonly [RegExp, Part])[] = [
  [/\.(test|fake)\.tsx?$|^src\/(testing|e2e)\//, "tests"],
  [/^(scripts\/|build\.ts$)/, "scripts"],
  [/^drizzle\//, "drizzle"],
  [/^src\/errors\.ts$/, "errors"],
  [/^src\/clock\.ts$/, "clock"],
  [/^src\/embed\.ts$/, "embed"],
  [/^src\/version\.ts$/, "version"],
  [/^src\/logging\.ts$/, "logging"],
  [/^src\/urgency\.ts$/, "urgency"],
  [/^src\/(data-directory|config\/environment)\.ts$/, "host"],
  [/^src\/config\.ts$|^src\/config\//, "config"],
  [/^src\/main\.ts$/, "main"],
  [/^src\/wiring(\.ts$|\/)/, "wiring"],
  [/^src\/server\/app\.ts$/, "app"],
  [/^src\/[^/]+\//, "feature"],
  [/^ui\/islands\//, "islands"],
  [/^ui\//, "ui"],
  [/^agent\//, "agent"],
]

const namedFolders = new Set<string>([
  "pki",
  "db",
  "secrets",
  "connectors",
  "server",
  "protocols",
  "scheduler",
  "client",
  "commands",
])

export const partOf = (path: string): Part | null => {
  const part = parts.find(([pattern]) => pattern.test(path))?.[1] ?? null
  if (part !== "feature") return part
  const folder = path.split("/")[1] ?? ""
  return namedFolders.has(folder) ? (folder as Part) : "feature"
}

/** Leaves that say nothing about anything else: everybody but `pki` and `errors` may use them. */
const leaves: readonly Part[] = ["errors", "clock", "version", "logging", "urgency"]

const isStore = (path: string) => /\.store\.ts$/.test(path)
const isRoutes = (path: string) => /\.routes\.ts$/.test(path)
const isSchema = (path: string) => /\.schema\.ts$/.test(path)
const isCatalog = (path: string) => /^src\/connectors\/(\w+\/(contract|registry|catalog)|[\w-]+)\.ts$/.test(path)

interface Rule {
  words: string
  /** Parts that may be imported whole, beside the part itself. */
  parts: readonly Part[]
  /** Decides about files of other parts and, for features, about other features. */
  also?: (target: string, from: string) => boolean
}

const featureOf = (path: string) => path.split("/")[1]
const servicesAndSchemas = (target: string) => partOf(target) === "feature" && !isStore(target) && !isRoutes(target)

const anything: Rule = { words: "anything", parts: [], also: () => true }

const rules: Readonly<Record<Part, Rule>> = {
  errors: { words: "nothing of ours", parts: [] },
  clock: { words: "nothing of ours", parts: [] },
  version: { words: "package.json only", parts: [], also: (target) => target === "package.json" },
  embed: { words: "nothing of ours", parts: [] },
  pki: { words: "errors", parts: ["errors"] },
  logging: { words: "nothing of ours", parts: [] },
  urgency: { words: "nothing of ours", parts: [] },
  host: { words: "errors", parts: ["errors"] },
  config: { words: "errors and the host's environment", parts: ["errors", "host"] },
  db: { words: "errors, pki, the clock and the embedded files", parts: [...leaves, "pki", "embed"] },
  secrets: { words: "errors and pki", parts: [...leaves, "pki"] },
  connectors: { words: "errors, pki and other files of connectors/", parts: [...leaves, "pki"] },
  feature: {
    words: "db, secrets, pki, errors, server/ (not app), connector catalogs and other features' services and schemas",
    parts: [...leaves, "db", "secrets", "pki", "server"],
    also: (target, from) => isCatalog(target) || featureOf(target) === featureOf(from) || servicesAndSchemas(target),
  },
  server: {
    words: "config, the host's environment, pki, errors, embedded files and features' services and schemas",
    parts: [...leaves, "config", "host", "pki", "embed"],
    also: servicesAndSchemas,
  },
  protocols: {
    words: "services, schemas, server/ (not app), pki and errors",
    parts: [...leaves, "pki", "server"],
    also: servicesAndSchemas,
  },
  scheduler: {
    words: "services, schemas, server/ (not app), pki and errors",
    parts: [...leaves, "pki", "server"],
    also: servicesAndSchemas,
  },
  islands: {
    words: "other files of ui/ only: it runs in the browser",
    parts: ["ui"],
  },
  ui: {
    words: "services, schemas, connector catalogs, server/ (not app), pki, errors, embedded files and islands",
    parts: [...leaves, "pki", "server", "embed", "islands"],
    also: (target) => isCatalog(target) || servicesAndSchemas(target),
  },
  client: { words: "schemas, pki and errors", parts: [...leaves, "pki"], also: isSchema },
  agent: {
    words:
      "schemas, client, connectors/targets, the host's environment, pki and errors: it runs where there is no database",
    parts: [...leaves, "client", "host", "pki"],
    also: (target) => isSchema(target) || /^src\/connectors\/(targets\/|[\w-]+\.ts$)/.test(target),
  },
  app: anything,
  wiring: anything,
  commands: anything,
  main: { words: "commands, errors and version", parts: [...leaves, "commands"] },
  drizzle: { words: "db", parts: ["db"] },
  scripts: anything,
  tests: anything,
}

/** The way in: each of these is imported by the one before it and by tests, by nothing else. */
const onlyFrom: Partial<Record<Part, readonly Part[]>> = {
  main: [],
  commands: ["main"],
  wiring: ["commands"],
  app: ["wiring", "commands"],
  tests: [],
  scripts: [],
}

/**
 * Certificates, jobs and roll-outs change in one transaction, so their services work with each other's stores. They name the
 * methods they use by type and are given them by the wiring; the SQL itself stays where it is.
 */
const isTypeOfStore = (from: string, target: string, typeOnly: boolean): boolean =>
  typeOnly && partOf(from) === "feature" && partOf(target) === "feature" && isStore(target)

/** Why `from` may not import `target` (paths relative to the repository), or null when it may. */
export const objection = (from: string, target: string, typeOnly = false): string | null => {
  const own = partOf(from)
  if (own === null) return `${from} belongs to no part of the code base: give it a row in scripts/import-rules.ts`
  if (own === "tests" || own === "scripts") return null
  const other = partOf(target)
  if (other !== null && other !== own && onlyFrom[other] !== undefined && !onlyFrom[other].includes(own)) {
    const allowed = onlyFrom[other].length > 0 ? onlyFrom[other].join(" and ") : "no product code"
    return `${target} may be imported by ${allowed} and by tests`
  }
  const rule = rules[own]
  const isOwn = other === own && own !== "feature"
  if (isTypeOfStore(from, target, typeOnly)) return null
  if (isOwn || (other !== null && rule.parts.includes(other)) || rule.also?.(target, from)) return null
  return `${own} may import ${rule.words}; ${target} is not among them`
}

/** Import and export declarations stand at the start of a line (the formatter sees to it); dynamic imports anywhere. */
const declarations =
  /^(?:import|export)\s[^"'`;]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"|^[^\n/*]*?\bimport\(\s*"([^"]+)"\s*\)/gm

/** Every import of a source text: what it names, the line it stands in, and whether it is of types only. */
export const importsOf = (source: string): { specifier: string; line: number; typeOnly: boolean }[] =>
  Array.from(source.matchAll(declarations), (match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? ""
    const end = match.index + match[0].lastIndexOf(specifier)
    const typeOnly = /^(?:import|export) type\b/.test(match[0])
    return { specifier, line: source.slice(0, end).split("\n").length, typeOnly }
  })

/** The violations of one file. `exists` tells whether a path relative to the repository is a file. */
export const checkFile = (file: string, source: string, exists: (path: string) => boolean): Violation[] => {
  const own = partOf(file)
  if (own === "tests" || own === "scripts") return []
  return importsOf(source).flatMap(({ specifier, line, typeOnly }) => {
    if (!specifier.startsWith(".")) return []
    const plain = normalize(join(dirname(file), specifier))
    const target = [plain, `${plain}.ts`, `${plain}.mjs`, `${plain}/index.ts`].find(exists)
    const message = target === undefined ? `${specifier} does not exist` : objection(file, target, typeOnly)
    return message === null ? [] : [{ file, line, message }]
  })
}
