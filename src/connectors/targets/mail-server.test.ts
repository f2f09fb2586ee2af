/** The Postfix and Dovecot targets against the servers themselves. */
import { setDefaultTimeout } from "bun:test"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { dovecotProduct, postfixProduct } from "../../testing/products/mail-server.product"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

fileTargetScenarios(dovecotProduct)
fileTargetScenarios(postfixProduct)
