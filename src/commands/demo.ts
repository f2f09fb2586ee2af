/** `certctl server --demo`. */
import { runServer } from "./server"

export const runDemo = runServer
