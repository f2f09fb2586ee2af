/** The Apache target against a real Apache. */
import { setDefaultTimeout } from "bun:test"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { apacheProduct } from "../../testing/products/apache.product"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

fileTargetScenarios(apacheProduct)
