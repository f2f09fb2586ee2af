/** Part of `npm run check`: every import inside the repository follows scripts/import-rules.ts. Prints `file:line: rule`. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join, relative } from "node:path"
import { checkFile } from "./import-rules"

const root = join(import.meta.dir, "..")

const isFile = (path: string) => statSync(join(root, path), { throwIfNoEntry: false })?.isFile() === true

const sources = ["src", "agent", "ui", "drizzle", "scripts"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name))),
)

const violations = sources.sort().flatMap((file) => checkFile(file, readFileSync(join(root, file), "utf8"), isFile))
for (const { file, line, message } of violations) console.error(`${file}:${line}: ${message}`)
console.log(`imports: ${sources.length} files, ${violations.length} violations`)
process.exit(violations.length > 0 ? 1 : 0)
