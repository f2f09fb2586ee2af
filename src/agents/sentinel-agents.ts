/** Agents that stand for sources inside the server: they never authenticate, get no work, belong to no group and cannot be retired. */
export const sentinelAgentIds = ["server-scanner", "cloud-aws-sm", "cloud-azure-kv", "cloud-gcp-sm"]
