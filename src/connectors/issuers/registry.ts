/** Every issuer connector. Static exports: a compiled executable cannot scan folders. */
export { localCa } from "./local-ca"
