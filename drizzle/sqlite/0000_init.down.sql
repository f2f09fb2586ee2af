DROP TABLE `teams`;
--> statement-breakpoint
DROP TABLE `owners`;
--> statement-breakpoint
DROP TABLE `agent_groups`;
--> statement-breakpoint
DROP TABLE `certificate_profiles`;
--> statement-breakpoint
DROP TABLE `renewal_policies`;
--> statement-breakpoint
DROP TABLE `issuers`;
--> statement-breakpoint
DROP TABLE `ca_keys`;
--> statement-breakpoint
DROP TABLE `agents`;
--> statement-breakpoint
DROP TABLE `join_tokens`;
--> statement-breakpoint
DROP TABLE `agent_group_members`;
--> statement-breakpoint
DROP TABLE `deployment_targets`;
--> statement-breakpoint
DROP TABLE `managed_certificates`;
--> statement-breakpoint
DROP TABLE `certificate_versions`;
--> statement-breakpoint
DROP TABLE `certificate_target_mappings`;
--> statement-breakpoint
DROP TABLE `certificate_revocations`;
--> statement-breakpoint
DROP TABLE `crl_cache`;
--> statement-breakpoint
DROP TABLE `crl_generation_events`;
--> statement-breakpoint
DROP TABLE `ocsp_responders`;
--> statement-breakpoint
DROP TABLE `intermediate_cas`;
--> statement-breakpoint
DROP TABLE `scep_registration_authorities`;
--> statement-breakpoint
DROP TABLE `scep_challenges`;
--> statement-breakpoint
DROP TABLE `acme_accounts`;
--> statement-breakpoint
DROP TABLE `acme_external_accounts`;
--> statement-breakpoint
DROP TABLE `acme_orders`;
--> statement-breakpoint
DROP TABLE `acme_authorizations`;
--> statement-breakpoint
DROP TABLE `acme_challenges`;
--> statement-breakpoint
DROP TABLE `acme_nonces`;
--> statement-breakpoint
DROP TABLE `rollouts`;
--> statement-breakpoint
DROP TABLE `jobs`;
--> statement-breakpoint
DROP TABLE `observations`;
--> statement-breakpoint
DROP TABLE `issuance_approval_requests`;
--> statement-breakpoint
DROP TABLE `policy_rules`;
--> statement-breakpoint
DROP TABLE `policy_violations`;
--> statement-breakpoint
DROP TABLE `notification_events`;
--> statement-breakpoint
DROP TABLE `audit_events`;
--> statement-breakpoint
DROP TABLE `audit_leaves`;
--> statement-breakpoint
DROP TABLE `api_keys`;
--> statement-breakpoint
DROP TABLE `sessions`;
--> statement-breakpoint
DROP TABLE `preferences`;
--> statement-breakpoint
DROP TABLE `leases`;
--> statement-breakpoint
DROP TABLE `outbox`;
--> statement-breakpoint
DROP TABLE `allowances`;
--> statement-breakpoint
DROP TABLE `settings`;
--> statement-breakpoint
DROP TABLE `row_counts`;
--> statement-breakpoint
DROP TABLE `row_changes`;
--> statement-breakpoint
DROP TABLE `search_docs`;
--> statement-breakpoint
DROP TABLE `search_marks`;
--> statement-breakpoint
DROP TABLE `discovery_scans`;
--> statement-breakpoint
DROP TABLE `discovered_certificates`;
--> statement-breakpoint
DROP TABLE `network_scan_targets`;
--> statement-breakpoint
DROP TABLE `endpoint_health_checks`;
--> statement-breakpoint
DROP TABLE `endpoint_health_history`;
