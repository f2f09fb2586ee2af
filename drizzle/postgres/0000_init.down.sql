DROP TABLE "teams" CASCADE;
--> statement-breakpoint
DROP TABLE "owners" CASCADE;
--> statement-breakpoint
DROP TABLE "agent_groups" CASCADE;
--> statement-breakpoint
DROP TABLE "certificate_profiles" CASCADE;
--> statement-breakpoint
DROP TABLE "renewal_policies" CASCADE;
--> statement-breakpoint
DROP TABLE "issuers" CASCADE;
--> statement-breakpoint
DROP TABLE "ca_keys" CASCADE;
--> statement-breakpoint
DROP TABLE "agents" CASCADE;
--> statement-breakpoint
DROP TABLE "join_tokens" CASCADE;
--> statement-breakpoint
DROP TABLE "agent_group_members" CASCADE;
--> statement-breakpoint
DROP TABLE "deployment_targets" CASCADE;
--> statement-breakpoint
DROP TABLE "managed_certificates" CASCADE;
--> statement-breakpoint
DROP TABLE "certificate_versions" CASCADE;
--> statement-breakpoint
DROP TABLE "certificate_target_mappings" CASCADE;
--> statement-breakpoint
DROP TABLE "certificate_revocations" CASCADE;
--> statement-breakpoint
DROP TABLE "crl_cache" CASCADE;
--> statement-breakpoint
DROP TABLE "crl_generation_events" CASCADE;
--> statement-breakpoint
DROP TABLE "ocsp_responders" CASCADE;
--> statement-breakpoint
DROP TABLE "intermediate_cas" CASCADE;
--> statement-breakpoint
DROP TABLE "scep_registration_authorities" CASCADE;
--> statement-breakpoint
DROP TABLE "scep_challenges" CASCADE;
--> statement-breakpoint
DROP TABLE "acme_accounts" CASCADE;
--> statement-breakpoint
DROP TABLE "acme_external_accounts" CASCADE;
--> statement-breakpoint
DROP TABLE "acme_orders" CASCADE;
--> statement-breakpoint
DROP TABLE "acme_authorizations" CASCADE;
--> statement-breakpoint
DROP TABLE "acme_challenges" CASCADE;
--> statement-breakpoint
DROP TABLE "acme_nonces" CASCADE;
--> statement-breakpoint
DROP TABLE "rollouts" CASCADE;
--> statement-breakpoint
DROP TABLE "jobs" CASCADE;
--> statement-breakpoint
DROP TABLE "observations" CASCADE;
--> statement-breakpoint
DROP TABLE "issuance_approval_requests" CASCADE;
--> statement-breakpoint
DROP TABLE "policy_rules" CASCADE;
--> statement-breakpoint
DROP TABLE "policy_violations" CASCADE;
--> statement-breakpoint
DROP TABLE "notification_events" CASCADE;
--> statement-breakpoint
DROP TABLE "audit_events" CASCADE;
--> statement-breakpoint
DROP TABLE "audit_leaves" CASCADE;
--> statement-breakpoint
DROP TABLE "api_keys" CASCADE;
--> statement-breakpoint
DROP TABLE "sessions" CASCADE;
--> statement-breakpoint
DROP TABLE "preferences" CASCADE;
--> statement-breakpoint
DROP TABLE "leases" CASCADE;
--> statement-breakpoint
DROP TABLE "outbox" CASCADE;
--> statement-breakpoint
DROP TABLE "allowances" CASCADE;
--> statement-breakpoint
DROP TABLE "settings" CASCADE;
--> statement-breakpoint
DROP TABLE "row_counts" CASCADE;
--> statement-breakpoint
DROP TABLE "row_changes" CASCADE;
--> statement-breakpoint
DROP TABLE "search_docs" CASCADE;
--> statement-breakpoint
DROP TABLE "search_marks" CASCADE;
--> statement-breakpoint
DROP TABLE "discovery_scans" CASCADE;
--> statement-breakpoint
DROP TABLE "discovered_certificates" CASCADE;
--> statement-breakpoint
DROP TABLE "network_scan_targets" CASCADE;
--> statement-breakpoint
DROP TABLE "endpoint_health_checks" CASCADE;
--> statement-breakpoint
DROP TABLE "endpoint_health_history" CASCADE;
