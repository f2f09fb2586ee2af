/** The SSH target with an NGINX on the other side of a real sshd. */
import { setDefaultTimeout } from "bun:test"
import { fileTargetScenarios } from "../../testing/file-target-scenarios"
import { sshNginxProduct } from "../../testing/products/ssh-nginx.product"

// Real processes and sockets: slow machines are slow, not wrong.
setDefaultTimeout(60_000)

fileTargetScenarios(sshNginxProduct)
