CREATE TABLE `teams` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`description` text DEFAULT '' NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `teams_name_unique` ON `teams` (`name`);
--> statement-breakpoint
CREATE INDEX `idx_teams_created_at` ON `teams` (`created_at`,`id`);
--> statement-breakpoint
CREATE TABLE `owners` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`email` text DEFAULT '' NOT NULL,
	`team_id` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`team_id`) REFERENCES `teams`(`id`) ON UPDATE no action ON DELETE restrict
);
--> statement-breakpoint
CREATE INDEX `idx_owners_email` ON `owners` (`email`);
--> statement-breakpoint
CREATE INDEX `idx_owners_team_id` ON `owners` (`team_id`);
--> statement-breakpoint
CREATE INDEX `idx_owners_created_at` ON `owners` (`created_at`,`id`);
--> statement-breakpoint
CREATE TABLE `agent_groups` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`description` text DEFAULT '' NOT NULL,
	`match_os` text DEFAULT '' NOT NULL,
	`match_architecture` text DEFAULT '' NOT NULL,
	`match_ip_cidr` text DEFAULT '' NOT NULL,
	`match_version` text DEFAULT '' NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `agent_groups_name_unique` ON `agent_groups` (`name`);
--> statement-breakpoint
CREATE TABLE `certificate_profiles` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`description` text DEFAULT '' NOT NULL,
	`allowed_key_algorithms` text NOT NULL,
	`max_ttl_seconds` integer DEFAULT 0 NOT NULL,
	`allowed_ekus` text NOT NULL,
	`required_san_patterns` text NOT NULL,
	`spiffe_uri_pattern` text DEFAULT '' NOT NULL,
	`allow_short_lived` integer DEFAULT false NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`required_csr_attributes` text NOT NULL,
	`must_staple` integer DEFAULT false NOT NULL,
	`requires_approval` integer DEFAULT false NOT NULL,
	`acme_auth_mode` text,
	`acme_issuer_id` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`acme_issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `certificate_profiles_name_unique` ON `certificate_profiles` (`name`);
--> statement-breakpoint
CREATE TABLE `renewal_policies` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`renewal_window_days` integer NOT NULL,
	`auto_renew` integer DEFAULT true NOT NULL,
	`max_retries` integer DEFAULT 3 NOT NULL,
	`retry_interval_seconds` integer DEFAULT 60 NOT NULL,
	`rollout` text DEFAULT 'one_first' NOT NULL,
	`alert_thresholds_days` text NOT NULL,
	`certificate_profile_id` text,
	`agent_group_id` text,
	`alert_channels` text NOT NULL,
	`alert_severity_map` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`certificate_profile_id`) REFERENCES `certificate_profiles`(`id`) ON UPDATE no action ON DELETE set null,
	FOREIGN KEY (`agent_group_id`) REFERENCES `agent_groups`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `renewal_policies_name_unique` ON `renewal_policies` (`name`);
--> statement-breakpoint
CREATE TABLE `issuers` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`type` text NOT NULL,
	`config` text NOT NULL,
	`encrypted_config` blob,
	`encrypted_state` blob,
	`enabled` integer DEFAULT true NOT NULL,
	`last_tested_at` integer,
	`test_status` text DEFAULT 'untested' NOT NULL,
	`source` text DEFAULT 'database' NOT NULL,
	`hierarchy_mode` text DEFAULT 'single' NOT NULL,
	`degraded_since` integer,
	`degraded_reason` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `issuers_name_unique` ON `issuers` (`name`);
--> statement-breakpoint
CREATE INDEX `idx_issuers_enabled` ON `issuers` (`enabled`);
--> statement-breakpoint
CREATE TABLE `ca_keys` (
	`issuer_id` text NOT NULL,
	`ski` text NOT NULL,
	`cert_pem` text NOT NULL,
	`chain_pem` text NOT NULL,
	`encrypted_key` blob NOT NULL,
	`state` text NOT NULL,
	`former_ski` text,
	`new_with_old_pem` text,
	`old_with_new_pem` text,
	`bridged_until` integer,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`issuer_id`, `ski`),
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE restrict
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_ca_keys_active` ON `ca_keys` (`issuer_id`) WHERE state = 'active';
--> statement-breakpoint
CREATE TABLE `agents` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`hostname` text NOT NULL,
	`status` text DEFAULT 'Offline' NOT NULL,
	`last_heartbeat_at` integer,
	`registered_at` integer NOT NULL,
	`api_key_hash` text DEFAULT '' NOT NULL,
	`os` text DEFAULT '' NOT NULL,
	`architecture` text DEFAULT '' NOT NULL,
	`ip_address` text DEFAULT '' NOT NULL,
	`version` text DEFAULT '' NOT NULL,
	`takes_checks` integer DEFAULT false NOT NULL,
	`retired_at` integer,
	`retired_reason` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_agents_name` ON `agents` (`name`) WHERE retired_at is null;
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_agents_api_key_hash` ON `agents` (`api_key_hash`) WHERE api_key_hash <> '';
--> statement-breakpoint
CREATE INDEX `idx_agents_status` ON `agents` (`status`);
--> statement-breakpoint
CREATE INDEX `idx_agents_hostname` ON `agents` (`hostname`);
--> statement-breakpoint
CREATE INDEX `idx_agents_last_heartbeat_at` ON `agents` (`last_heartbeat_at`);
--> statement-breakpoint
CREATE INDEX `idx_agents_os` ON `agents` (`os`);
--> statement-breakpoint
CREATE INDEX `idx_agents_architecture` ON `agents` (`architecture`);
--> statement-breakpoint
CREATE INDEX `idx_agents_registered_at` ON `agents` (`registered_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_agents_online` ON `agents` (`status`,`last_heartbeat_at`) WHERE status = 'Online';
--> statement-breakpoint
CREATE INDEX `idx_agents_retired_at` ON `agents` (`retired_at`,`id`) WHERE retired_at is not null;
--> statement-breakpoint
CREATE TABLE `join_tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`hash` text NOT NULL,
	`created_by` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`used_at` integer,
	`agent_id` text,
	FOREIGN KEY (`agent_id`) REFERENCES `agents`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `join_tokens_hash_unique` ON `join_tokens` (`hash`);
--> statement-breakpoint
CREATE INDEX `idx_join_tokens_expires_at` ON `join_tokens` (`expires_at`);
--> statement-breakpoint
CREATE INDEX `idx_join_tokens_created_at` ON `join_tokens` (`created_at`,`id`);
--> statement-breakpoint
CREATE TABLE `agent_group_members` (
	`agent_group_id` text NOT NULL,
	`agent_id` text NOT NULL,
	`membership_type` text DEFAULT 'include' NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`agent_group_id`, `agent_id`),
	FOREIGN KEY (`agent_group_id`) REFERENCES `agent_groups`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`agent_id`) REFERENCES `agents`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_agent_group_members_agent_id` ON `agent_group_members` (`agent_id`);
--> statement-breakpoint
CREATE TABLE `deployment_targets` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`type` text NOT NULL,
	`agent_id` text NOT NULL,
	`config` text NOT NULL,
	`encrypted_config` blob,
	`enabled` integer DEFAULT true NOT NULL,
	`deployment_windows` text,
	`last_tested_at` integer,
	`test_status` text DEFAULT 'untested' NOT NULL,
	`source` text DEFAULT 'database' NOT NULL,
	`retired_at` integer,
	`retired_reason` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`agent_id`) REFERENCES `agents`(`id`) ON UPDATE no action ON DELETE restrict
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_deployment_targets_agent_id_name` ON `deployment_targets` (`agent_id`,`name`);
--> statement-breakpoint
CREATE INDEX `idx_deployment_targets_enabled` ON `deployment_targets` (`enabled`);
--> statement-breakpoint
CREATE INDEX `idx_deployment_targets_name` ON `deployment_targets` (`name`);
--> statement-breakpoint
CREATE INDEX `idx_deployment_targets_created_at` ON `deployment_targets` (`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_deployment_targets_retired_at` ON `deployment_targets` (`retired_at`) WHERE retired_at is not null;
--> statement-breakpoint
CREATE TABLE `managed_certificates` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`common_name` text NOT NULL,
	`sans` text NOT NULL,
	`environment` text DEFAULT '' NOT NULL,
	`owner_id` text NOT NULL,
	`team_id` text NOT NULL,
	`issuer_id` text NOT NULL,
	`renewal_policy_id` text NOT NULL,
	`certificate_profile_id` text,
	`status` text DEFAULT 'Pending' NOT NULL,
	`expires_at` integer,
	`renew_at` integer,
	`tags` text NOT NULL,
	`last_renewal_at` integer,
	`last_deployment_at` integer,
	`revoked_at` integer,
	`revocation_reason` text,
	`source` text DEFAULT '' NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`owner_id`) REFERENCES `owners`(`id`) ON UPDATE no action ON DELETE restrict,
	FOREIGN KEY (`team_id`) REFERENCES `teams`(`id`) ON UPDATE no action ON DELETE restrict,
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE restrict,
	FOREIGN KEY (`renewal_policy_id`) REFERENCES `renewal_policies`(`id`) ON UPDATE no action ON DELETE restrict,
	FOREIGN KEY (`certificate_profile_id`) REFERENCES `certificate_profiles`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `managed_certificates_name_unique` ON `managed_certificates` (`name`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_status` ON `managed_certificates` (`status`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_environment` ON `managed_certificates` (`environment`,`created_at`,`id`,`issuer_id`,`certificate_profile_id`,`team_id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_expires_at` ON `managed_certificates` (`expires_at`,`id`,`team_id`,`issuer_id`,`certificate_profile_id`,`environment`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_status_expires_at` ON `managed_certificates` (`status`,`expires_at`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_owner_id` ON `managed_certificates` (`owner_id`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_team_id` ON `managed_certificates` (`team_id`,`created_at`,`id`,`issuer_id`,`certificate_profile_id`,`environment`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_issuer_id` ON `managed_certificates` (`issuer_id`,`created_at`,`id`,`certificate_profile_id`,`environment`,`team_id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_renewal_policy_id` ON `managed_certificates` (`renewal_policy_id`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_certificate_profile_id` ON `managed_certificates` (`certificate_profile_id`,`created_at`,`id`,`issuer_id`,`environment`,`team_id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_common_name` ON `managed_certificates` (`common_name`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_updated_at` ON `managed_certificates` (`updated_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_check` ON `managed_certificates` (`expires_at`,`id`,`status`,`renew_at`,`renewal_policy_id`) WHERE status not in ('Failed', 'Revoked', 'Archived');
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_due` ON `managed_certificates` (`renew_at`,`id`,`expires_at`,`status`) WHERE status not in ('Failed', 'Revoked', 'Archived');
--> statement-breakpoint
CREATE INDEX `idx_managed_certificates_created_at` ON `managed_certificates` (`created_at`,`id`);
--> statement-breakpoint
CREATE TABLE `certificate_versions` (
	`id` text PRIMARY KEY NOT NULL,
	`certificate_id` text NOT NULL,
	`serial_number` text NOT NULL,
	`not_before` integer NOT NULL,
	`not_after` integer NOT NULL,
	`fingerprint_sha256` text NOT NULL,
	`pem_chain` text NOT NULL,
	`csr_pem` text DEFAULT '' NOT NULL,
	`key_algorithm` text DEFAULT '' NOT NULL,
	`key_size` integer DEFAULT 0 NOT NULL,
	`issuer_id` text,
	`agent_id` text,
	`order_id` text,
	`encrypted_key` blob,
	`short_lived` integer DEFAULT false NOT NULL,
	`renew_at` integer,
	`ari_next_at` integer,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`agent_id`) REFERENCES `agents`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `certificate_versions_fingerprint_sha256_unique` ON `certificate_versions` (`fingerprint_sha256`);
--> statement-breakpoint
CREATE INDEX `idx_certificate_versions_serial` ON `certificate_versions` (`issuer_id`,`serial_number`);
--> statement-breakpoint
CREATE INDEX `idx_certificate_versions_newest` ON `certificate_versions` (`certificate_id`,`agent_id`,`created_at`,`id`);
--> statement-breakpoint
CREATE TABLE `certificate_target_mappings` (
	`certificate_id` text NOT NULL,
	`target_id` text NOT NULL,
	PRIMARY KEY(`certificate_id`, `target_id`),
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`target_id`) REFERENCES `deployment_targets`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_certificate_target_mappings_target_id` ON `certificate_target_mappings` (`target_id`);
--> statement-breakpoint
CREATE TABLE `certificate_revocations` (
	`id` text PRIMARY KEY NOT NULL,
	`certificate_id` text NOT NULL,
	`serial_number` text NOT NULL,
	`reason` text DEFAULT 'unspecified' NOT NULL,
	`revoked_by` text NOT NULL,
	`revoked_at` integer NOT NULL,
	`issuer_id` text,
	`not_after` integer,
	`short_lived` integer DEFAULT false NOT NULL,
	`issuer_notified` integer DEFAULT false NOT NULL,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_certificate_revocations_issuer_serial` ON `certificate_revocations` (`issuer_id`,`serial_number`);
--> statement-breakpoint
CREATE INDEX `idx_certificate_revocations_revoked_at` ON `certificate_revocations` (`revoked_at`);
--> statement-breakpoint
CREATE INDEX `idx_certificate_revocations_issuer_created_at` ON `certificate_revocations` (`issuer_id`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_certificate_revocations_created_at` ON `certificate_revocations` (`created_at`);
--> statement-breakpoint
CREATE INDEX `idx_certificate_revocations_certificate_id` ON `certificate_revocations` (`certificate_id`);
--> statement-breakpoint
CREATE INDEX `idx_certificate_revocations_serial_number` ON `certificate_revocations` (`serial_number`);
--> statement-breakpoint
CREATE TABLE `crl_cache` (
	`issuer_id` text NOT NULL,
	`ca_ski` text NOT NULL,
	`crl_der` blob NOT NULL,
	`crl_number` integer NOT NULL,
	`this_update` integer NOT NULL,
	`next_update` integer NOT NULL,
	`generated_at` integer NOT NULL,
	`generation_duration_ms` integer NOT NULL,
	`revoked_count` integer NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`issuer_id`, `ca_ski`),
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_crl_cache_next_update` ON `crl_cache` (`next_update`);
--> statement-breakpoint
CREATE TABLE `crl_generation_events` (
	`id` text PRIMARY KEY NOT NULL,
	`issuer_id` text NOT NULL,
	`crl_number` integer NOT NULL,
	`duration_ms` integer NOT NULL,
	`revoked_count` integer NOT NULL,
	`started_at` integer NOT NULL,
	`succeeded` integer NOT NULL,
	`error` text,
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_crl_generation_events_issuer_id` ON `crl_generation_events` (`issuer_id`,`started_at`);
--> statement-breakpoint
CREATE TABLE `ocsp_responders` (
	`issuer_id` text NOT NULL,
	`ca_ski` text NOT NULL,
	`cert_pem` text NOT NULL,
	`cert_serial` text NOT NULL,
	`encrypted_key` blob NOT NULL,
	`key_alg` text NOT NULL,
	`not_before` integer NOT NULL,
	`not_after` integer NOT NULL,
	`rotated_from` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`issuer_id`, `ca_ski`),
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_ocsp_responders_not_after` ON `ocsp_responders` (`not_after`);
--> statement-breakpoint
CREATE TABLE `intermediate_cas` (
	`id` text PRIMARY KEY NOT NULL,
	`owning_issuer_id` text NOT NULL,
	`parent_ca_id` text,
	`name` text NOT NULL,
	`subject` text NOT NULL,
	`ski` text NOT NULL,
	`state` text DEFAULT 'active' NOT NULL,
	`cert_pem` text NOT NULL,
	`key_driver_id` text NOT NULL,
	`not_before` integer NOT NULL,
	`not_after` integer NOT NULL,
	`path_len_constraint` integer,
	`name_constraints` text NOT NULL,
	`ocsp_responder_url` text DEFAULT '' NOT NULL,
	`metadata` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`owning_issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE restrict,
	FOREIGN KEY (`parent_ca_id`) REFERENCES `intermediate_cas`(`id`) ON UPDATE no action ON DELETE restrict,
	CONSTRAINT "intermediate_cas_state" CHECK(state in ('active', 'retiring', 'retired')),
	CONSTRAINT "intermediate_cas_validity" CHECK(not_after > not_before),
	CONSTRAINT "intermediate_cas_parent" CHECK(parent_ca_id is null or parent_ca_id <> id)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_intermediate_cas_name` ON `intermediate_cas` (`owning_issuer_id`,`name`);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_intermediate_cas_active_root` ON `intermediate_cas` (`owning_issuer_id`) WHERE parent_ca_id is null and state = 'active';
--> statement-breakpoint
CREATE INDEX `idx_intermediate_cas_parent_ca_id` ON `intermediate_cas` (`parent_ca_id`);
--> statement-breakpoint
CREATE TABLE `scep_registration_authorities` (
	`issuer_id` text NOT NULL,
	`cert_serial` text NOT NULL,
	`ca_ski` text NOT NULL,
	`cert_pem` text NOT NULL,
	`encrypted_key` blob NOT NULL,
	`state` text NOT NULL,
	`not_before` integer NOT NULL,
	`not_after` integer NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`issuer_id`, `cert_serial`),
	FOREIGN KEY (`issuer_id`) REFERENCES `issuers`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_scep_registration_authorities_current` ON `scep_registration_authorities` (`issuer_id`) WHERE state = 'current';
--> statement-breakpoint
CREATE TABLE `scep_challenges` (
	`id` text PRIMARY KEY NOT NULL,
	`hash` text NOT NULL,
	`path_id` text NOT NULL,
	`created_by` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`used_at` integer,
	`waiting_csr_hash` text
);
--> statement-breakpoint
CREATE UNIQUE INDEX `scep_challenges_hash_unique` ON `scep_challenges` (`hash`);
--> statement-breakpoint
CREATE INDEX `idx_scep_challenges_expires_at` ON `scep_challenges` (`expires_at`);
--> statement-breakpoint
CREATE TABLE `acme_accounts` (
	`account_id` text PRIMARY KEY NOT NULL,
	`jwk_thumbprint` text NOT NULL,
	`jwk_pem` text NOT NULL,
	`contact` text NOT NULL,
	`status` text NOT NULL,
	`profile_id` text NOT NULL,
	`owner_id` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`profile_id`) REFERENCES `certificate_profiles`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`owner_id`) REFERENCES `owners`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_acme_accounts_profile_jwk` ON `acme_accounts` (`profile_id`,`jwk_thumbprint`);
--> statement-breakpoint
CREATE INDEX `idx_acme_accounts_created_at` ON `acme_accounts` (`created_at`,`account_id`);
--> statement-breakpoint
CREATE TABLE `acme_external_accounts` (
	`id` text PRIMARY KEY NOT NULL,
	`profile_id` text NOT NULL,
	`owner_id` text,
	`encrypted_key` blob NOT NULL,
	`created_by` text NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer,
	`account_id` text,
	`bound_at` integer,
	FOREIGN KEY (`profile_id`) REFERENCES `certificate_profiles`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`owner_id`) REFERENCES `owners`(`id`) ON UPDATE no action ON DELETE set null,
	FOREIGN KEY (`account_id`) REFERENCES `acme_accounts`(`account_id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE TABLE `acme_orders` (
	`order_id` text PRIMARY KEY NOT NULL,
	`account_id` text NOT NULL,
	`identifiers` text NOT NULL,
	`status` text NOT NULL,
	`expires_at` integer NOT NULL,
	`error` text,
	`csr_pem` text,
	`certificate_id` text,
	`version_id` text,
	`replaces_id` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`account_id`) REFERENCES `acme_accounts`(`account_id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE set null,
	FOREIGN KEY (`version_id`) REFERENCES `certificate_versions`(`id`) ON UPDATE no action ON DELETE set null,
	FOREIGN KEY (`replaces_id`) REFERENCES `certificate_versions`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE INDEX `idx_acme_orders_account_id` ON `acme_orders` (`account_id`,`created_at`);
--> statement-breakpoint
CREATE INDEX `idx_acme_orders_open` ON `acme_orders` (`account_id`) WHERE status in ('pending', 'ready', 'processing');
--> statement-breakpoint
CREATE INDEX `idx_acme_orders_expires_at` ON `acme_orders` (`expires_at`);
--> statement-breakpoint
CREATE INDEX `idx_acme_orders_certificate_id` ON `acme_orders` (`certificate_id`);
--> statement-breakpoint
CREATE INDEX `idx_acme_orders_version_id` ON `acme_orders` (`version_id`);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_acme_orders_replaces_id` ON `acme_orders` (`replaces_id`) WHERE replaces_id is not null and status <> 'invalid';
--> statement-breakpoint
CREATE TABLE `acme_authorizations` (
	`authz_id` text PRIMARY KEY NOT NULL,
	`order_id` text NOT NULL,
	`identifier` text NOT NULL,
	`status` text NOT NULL,
	`expires_at` integer NOT NULL,
	`wildcard` integer NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`order_id`) REFERENCES `acme_orders`(`order_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_acme_authorizations_order_id` ON `acme_authorizations` (`order_id`);
--> statement-breakpoint
CREATE INDEX `idx_acme_authorizations_expiring` ON `acme_authorizations` (`expires_at`) WHERE status in ('pending', 'valid');
--> statement-breakpoint
CREATE TABLE `acme_challenges` (
	`challenge_id` text PRIMARY KEY NOT NULL,
	`authz_id` text NOT NULL,
	`type` text NOT NULL,
	`status` text NOT NULL,
	`token` text NOT NULL,
	`validated_at` integer,
	`error` text,
	`claimed_until` integer,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`authz_id`) REFERENCES `acme_authorizations`(`authz_id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_acme_challenges_authz_id` ON `acme_challenges` (`authz_id`);
--> statement-breakpoint
CREATE INDEX `idx_acme_challenges_processing` ON `acme_challenges` (`claimed_until`) WHERE status = 'processing';
--> statement-breakpoint
CREATE TABLE `acme_nonces` (
	`nonce` text PRIMARY KEY NOT NULL,
	`issued_at` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `idx_acme_nonces_expires_at` ON `acme_nonces` (`expires_at`);
--> statement-breakpoint
CREATE TABLE `rollouts` (
	`id` text PRIMARY KEY NOT NULL,
	`certificate_id` text NOT NULL,
	`state` text NOT NULL,
	`waves` text NOT NULL,
	`created_at` integer NOT NULL,
	`finished_at` integer,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_rollouts_certificate_id` ON `rollouts` (`certificate_id`);
--> statement-breakpoint
CREATE INDEX `idx_rollouts_open` ON `rollouts` (`created_at`,`id`) WHERE state = 'running';
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_rollouts_running` ON `rollouts` (`certificate_id`) WHERE state = 'running';
--> statement-breakpoint
CREATE TABLE `jobs` (
	`id` text PRIMARY KEY NOT NULL,
	`type` text NOT NULL,
	`certificate_id` text,
	`target_id` text,
	`agent_id` text,
	`status` text DEFAULT 'Pending' NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`max_attempts` integer DEFAULT 3 NOT NULL,
	`last_error` text,
	`deployment_result` text,
	`requested_by` text,
	`version_id` text,
	`rollout_id` text,
	`wave` integer,
	`hold` text,
	`ignores_windows` integer DEFAULT false NOT NULL,
	`csr_pem` text,
	`order_id` text,
	`next_poll_at` integer,
	`status_since` integer NOT NULL,
	`deadline` integer,
	`lease_until` integer,
	`lease_holder` text,
	`scheduled_at` integer NOT NULL,
	`started_at` integer,
	`completed_at` integer,
	`verification_status` text DEFAULT 'pending' NOT NULL,
	`verified_at` integer,
	`verification_fingerprint` text,
	`verification_expected` text,
	`verification_error` text,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`target_id`) REFERENCES `deployment_targets`(`id`) ON UPDATE no action ON DELETE set null,
	FOREIGN KEY (`agent_id`) REFERENCES `agents`(`id`) ON UPDATE no action ON DELETE set null,
	FOREIGN KEY (`version_id`) REFERENCES `certificate_versions`(`id`) ON UPDATE no action ON DELETE set null,
	FOREIGN KEY (`rollout_id`) REFERENCES `rollouts`(`id`) ON UPDATE no action ON DELETE set null
);
--> statement-breakpoint
CREATE INDEX `idx_jobs_status_created_at` ON `jobs` (`status`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_jobs_type` ON `jobs` (`type`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_jobs_certificate_id` ON `jobs` (`certificate_id`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_jobs_target_id` ON `jobs` (`target_id`,`created_at`,`id`) WHERE target_id is not null;
--> statement-breakpoint
CREATE INDEX `idx_jobs_agent_id` ON `jobs` (`agent_id`,`created_at`,`id`) WHERE agent_id is not null;
--> statement-breakpoint
CREATE INDEX `idx_jobs_rollout_id` ON `jobs` (`rollout_id`) WHERE rollout_id is not null;
--> statement-breakpoint
CREATE INDEX `idx_jobs_created_at` ON `jobs` (`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_jobs_agent_open` ON `jobs` (`agent_id`,`status`,`created_at`,`id`) WHERE (status || '') in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running');
--> statement-breakpoint
CREATE INDEX `idx_jobs_claimable` ON `jobs` (`created_at`,`id`) WHERE (status || '') = 'Pending' and ((type || '') in ('Issuance', 'Renewal') or ((type || '') = 'Deployment' and target_id is null));
--> statement-breakpoint
CREATE INDEX `idx_jobs_lease_until` ON `jobs` (`lease_until`,`id`) WHERE (status || '') = 'Running' and (type || '') in ('Issuance', 'Renewal');
--> statement-breakpoint
CREATE INDEX `idx_jobs_failed` ON `jobs` (`completed_at`,`id`) WHERE (status || '') = 'Failed';
--> statement-breakpoint
CREATE INDEX `idx_jobs_retryable` ON `jobs` (`type`,`completed_at`,`id`) WHERE (status || '') = 'Failed' and attempts < max_attempts;
--> statement-breakpoint
CREATE INDEX `idx_jobs_held` ON `jobs` (`created_at`,`id`) WHERE (status || '') = 'Pending' and hold is not null;
--> statement-breakpoint
CREATE INDEX `idx_jobs_waiting` ON `jobs` (`status`,`status_since`,`id`) WHERE (status || '') in ('AwaitingCSR', 'AwaitingApproval');
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_jobs_open_issuance` ON `jobs` (`certificate_id`,coalesce(agent_id, '')) WHERE type in ('Issuance', 'Renewal') and status in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running');
--> statement-breakpoint
CREATE TABLE `observations` (
	`id` text PRIMARY KEY NOT NULL,
	`certificate_id` text NOT NULL,
	`target_id` text,
	`endpoint` text DEFAULT '' NOT NULL,
	`kind` text NOT NULL,
	`fingerprint` text DEFAULT '' NOT NULL,
	`ok` integer NOT NULL,
	`detail` text DEFAULT '' NOT NULL,
	`observer` text NOT NULL,
	`observed_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`target_id`) REFERENCES `deployment_targets`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_observations_certificate_id` ON `observations` (`certificate_id`,`target_id`,`kind`,`observed_at`);
--> statement-breakpoint
CREATE INDEX `idx_observations_target_id` ON `observations` (`target_id`);
--> statement-breakpoint
CREATE INDEX `idx_observations_observed_at` ON `observations` (`observed_at`);
--> statement-breakpoint
CREATE TABLE `issuance_approval_requests` (
	`id` text PRIMARY KEY NOT NULL,
	`certificate_id` text NOT NULL,
	`job_id` text NOT NULL,
	`profile_id` text NOT NULL,
	`requested_by` text NOT NULL,
	`state` text DEFAULT 'pending' NOT NULL,
	`decided_by` text,
	`decided_at` integer,
	`decision_note` text,
	`metadata` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`job_id`) REFERENCES `jobs`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`profile_id`) REFERENCES `certificate_profiles`(`id`) ON UPDATE no action ON DELETE restrict,
	CONSTRAINT "issuance_approval_requests_state" CHECK(state in ('pending', 'approved', 'rejected', 'expired')),
	CONSTRAINT "issuance_approval_requests_undecided" CHECK(state <> 'pending' or (decided_by is null and decided_at is null and decision_note is null)),
	CONSTRAINT "issuance_approval_requests_decided" CHECK(state = 'pending' or decided_at is not null)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_issuance_approval_requests_pending_job` ON `issuance_approval_requests` (`job_id`) WHERE state = 'pending';
--> statement-breakpoint
CREATE INDEX `idx_issuance_approval_requests_job_id` ON `issuance_approval_requests` (`job_id`);
--> statement-breakpoint
CREATE INDEX `idx_issuance_approval_requests_certificate_id` ON `issuance_approval_requests` (`certificate_id`,`created_at`);
--> statement-breakpoint
CREATE INDEX `idx_issuance_approval_requests_profile_id` ON `issuance_approval_requests` (`profile_id`,`state`,`decided_by`);
--> statement-breakpoint
CREATE INDEX `idx_issuance_approval_requests_state` ON `issuance_approval_requests` (`state`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_issuance_approval_requests_requested_by` ON `issuance_approval_requests` (`requested_by`,`created_at`);
--> statement-breakpoint
CREATE INDEX `idx_issuance_approval_requests_created_at` ON `issuance_approval_requests` (`created_at`,`id`);
--> statement-breakpoint
CREATE TABLE `policy_rules` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`type` text NOT NULL,
	`config` text NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`severity` text DEFAULT 'Warning' NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	CONSTRAINT "policy_rules_severity" CHECK(severity in ('Warning', 'Error', 'Critical'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX `policy_rules_name_unique` ON `policy_rules` (`name`);
--> statement-breakpoint
CREATE INDEX `idx_policy_rules_enabled` ON `policy_rules` (`enabled`);
--> statement-breakpoint
CREATE TABLE `policy_violations` (
	`id` text PRIMARY KEY NOT NULL,
	`certificate_id` text NOT NULL,
	`rule_id` text NOT NULL,
	`message` text NOT NULL,
	`severity` text NOT NULL,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`rule_id`) REFERENCES `policy_rules`(`id`) ON UPDATE no action ON DELETE cascade,
	CONSTRAINT "policy_violations_severity" CHECK(severity in ('Warning', 'Error', 'Critical'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_policy_violations_rule_certificate` ON `policy_violations` (`rule_id`,`certificate_id`);
--> statement-breakpoint
CREATE INDEX `idx_policy_violations_rule_id_created_at` ON `policy_violations` (`rule_id`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_policy_violations_certificate_id` ON `policy_violations` (`certificate_id`);
--> statement-breakpoint
CREATE INDEX `idx_policy_violations_severity` ON `policy_violations` (`severity`);
--> statement-breakpoint
CREATE TABLE `notification_events` (
	`id` text PRIMARY KEY NOT NULL,
	`type` text NOT NULL,
	`certificate_id` text,
	`channel` text NOT NULL,
	`recipient` text NOT NULL,
	`message` text NOT NULL,
	`status` text DEFAULT 'pending' NOT NULL,
	`sent_at` integer,
	`error` text,
	`retry_count` integer DEFAULT 0 NOT NULL,
	`next_retry_at` integer,
	`last_error` text,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_notification_events_certificate_id` ON `notification_events` (`certificate_id`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_notification_events_unsent` ON `notification_events` (`status`,`created_at`,`id`) WHERE (status || '') <> 'sent';
--> statement-breakpoint
CREATE INDEX `idx_notification_events_type` ON `notification_events` (`type`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_notification_events_sent_at` ON `notification_events` ((sent_at is not null),`sent_at`,`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_notification_events_created_at` ON `notification_events` (`created_at`,`id`);
--> statement-breakpoint
CREATE TABLE `audit_events` (
	`id` text PRIMARY KEY NOT NULL,
	`actor` text NOT NULL,
	`actor_type` text NOT NULL,
	`action` text NOT NULL,
	`resource_type` text NOT NULL,
	`resource_id` text NOT NULL,
	`details` text NOT NULL,
	`timestamp` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `idx_audit_events_resource_type` ON `audit_events` (`resource_type`,`timestamp`);
--> statement-breakpoint
CREATE INDEX `idx_audit_events_resource_id` ON `audit_events` (`resource_id`,`timestamp`);
--> statement-breakpoint
CREATE INDEX `idx_audit_events_actor` ON `audit_events` (`actor`,`timestamp`);
--> statement-breakpoint
CREATE INDEX `idx_audit_events_action` ON `audit_events` (`action`,`timestamp`);
--> statement-breakpoint
CREATE INDEX `idx_audit_events_actor_type` ON `audit_events` (`actor_type`,`timestamp`);
--> statement-breakpoint
CREATE INDEX `idx_audit_events_changes` ON `audit_events` (`timestamp`,`id`) WHERE resource_type <> 'api';
--> statement-breakpoint
CREATE INDEX `idx_audit_events_timestamp` ON `audit_events` (`timestamp`,`id`);
--> statement-breakpoint
CREATE TABLE `audit_leaves` (
	`seq` integer PRIMARY KEY NOT NULL,
	`event_id` text NOT NULL,
	`leaf_hash` text NOT NULL,
	FOREIGN KEY (`event_id`) REFERENCES `audit_events`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `audit_leaves_event_id_unique` ON `audit_leaves` (`event_id`);
--> statement-breakpoint
CREATE TABLE `api_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`hash` text NOT NULL,
	`principal` text NOT NULL,
	`role` text NOT NULL,
	`created_at` integer NOT NULL,
	`last_used_at` integer,
	`disabled_at` integer,
	CONSTRAINT "api_keys_role" CHECK(role in ('admin', 'operator', 'viewer'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_name_unique` ON `api_keys` (`name`);
--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_hash_unique` ON `api_keys` (`hash`);
--> statement-breakpoint
CREATE INDEX `idx_api_keys_principal` ON `api_keys` (`principal`);
--> statement-breakpoint
CREATE TABLE `sessions` (
	`id_hash` text PRIMARY KEY NOT NULL,
	`api_key_id` text,
	`key_hash` text NOT NULL,
	`created_at` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	FOREIGN KEY (`api_key_id`) REFERENCES `api_keys`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_sessions_expires_at` ON `sessions` (`expires_at`);
--> statement-breakpoint
CREATE INDEX `idx_sessions_key_hash` ON `sessions` (`key_hash`);
--> statement-breakpoint
CREATE TABLE `preferences` (
	`principal` text NOT NULL,
	`name` text NOT NULL,
	`value` text NOT NULL,
	PRIMARY KEY(`principal`, `name`)
);
--> statement-breakpoint
CREATE TABLE `leases` (
	`loop` text PRIMARY KEY NOT NULL,
	`holder` text NOT NULL,
	`expires_at` integer NOT NULL,
	`fence` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `outbox` (
	`id` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`lane` text NOT NULL,
	`payload` text NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`next_at` integer NOT NULL,
	`last_error` text,
	`created_at` integer NOT NULL,
	`done_at` integer
);
--> statement-breakpoint
CREATE INDEX `idx_outbox_lane` ON `outbox` (`lane`,`next_at`,`id`) WHERE done_at is null;
--> statement-breakpoint
CREATE INDEX `idx_outbox_done_at` ON `outbox` (`done_at`) WHERE done_at is not null;
--> statement-breakpoint
CREATE TABLE `allowances` (
	`name` text PRIMARY KEY NOT NULL,
	`since` integer NOT NULL,
	`used` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `settings` (
	`name` text PRIMARY KEY NOT NULL,
	`value` text NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `row_counts` (
	`list` text NOT NULL,
	`day` integer NOT NULL,
	`d1` text NOT NULL,
	`d2` text NOT NULL,
	`d3` text NOT NULL,
	`d4` text NOT NULL,
	`d5` text NOT NULL,
	`d6` text NOT NULL,
	`n` integer NOT NULL,
	PRIMARY KEY(`list`, `day`, `d1`, `d2`, `d3`, `d4`, `d5`, `d6`)
);
--> statement-breakpoint
CREATE TABLE `row_changes` (
	`id` integer PRIMARY KEY NOT NULL,
	`source` text NOT NULL,
	`n` integer NOT NULL,
	`d1` text NOT NULL,
	`d2` text NOT NULL,
	`d3` text NOT NULL,
	`d4` text NOT NULL,
	`d5` text NOT NULL,
	`d6` text NOT NULL,
	`day1` integer,
	`day2` integer
);
--> statement-breakpoint
CREATE TABLE `search_docs` (
	`doc` integer PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`id` text NOT NULL,
	`text` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_search_docs_kind_id` ON `search_docs` (`kind`,`id`);
--> statement-breakpoint
CREATE TABLE `search_marks` (
	`kind` text PRIMARY KEY NOT NULL,
	`doc` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `discovery_scans` (
	`id` text PRIMARY KEY NOT NULL,
	`agent_id` text NOT NULL,
	`directories` text NOT NULL,
	`certificates_found` integer DEFAULT 0 NOT NULL,
	`certificates_new` integer DEFAULT 0 NOT NULL,
	`errors_count` integer DEFAULT 0 NOT NULL,
	`scan_duration_ms` integer DEFAULT 0 NOT NULL,
	`started_at` integer NOT NULL,
	`completed_at` integer,
	FOREIGN KEY (`agent_id`) REFERENCES `agents`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `idx_discovery_scans_agent_id` ON `discovery_scans` (`agent_id`,`started_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_discovery_scans_started_at` ON `discovery_scans` (`started_at`,`id`);
--> statement-breakpoint
CREATE TABLE `discovered_certificates` (
	`id` text PRIMARY KEY NOT NULL,
	`fingerprint_sha256` text NOT NULL,
	`common_name` text DEFAULT '' NOT NULL,
	`sans` text NOT NULL,
	`serial_number` text DEFAULT '' NOT NULL,
	`issuer_dn` text DEFAULT '' NOT NULL,
	`subject_dn` text DEFAULT '' NOT NULL,
	`not_before` integer,
	`not_after` integer,
	`key_algorithm` text DEFAULT '' NOT NULL,
	`key_size` integer DEFAULT 0 NOT NULL,
	`is_ca` integer DEFAULT false NOT NULL,
	`pem_data` text DEFAULT '' NOT NULL,
	`source_path` text DEFAULT '' NOT NULL,
	`source_format` text DEFAULT 'PEM' NOT NULL,
	`agent_id` text NOT NULL,
	`discovery_scan_id` text,
	`managed_certificate_id` text,
	`status` text DEFAULT 'Unmanaged' NOT NULL,
	`first_seen_at` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`dismissed_at` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`agent_id`) REFERENCES `agents`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`discovery_scan_id`) REFERENCES `discovery_scans`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`managed_certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_discovered_certificates_sighting` ON `discovered_certificates` (`fingerprint_sha256`,`agent_id`,`source_path`);
--> statement-breakpoint
CREATE INDEX `idx_discovered_certificates_agent_id` ON `discovered_certificates` (`agent_id`,`last_seen_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_discovered_certificates_status` ON `discovered_certificates` (`status`,`last_seen_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_discovered_certificates_not_after` ON `discovered_certificates` (`not_after`);
--> statement-breakpoint
CREATE INDEX `idx_discovered_certificates_last_seen_at` ON `discovered_certificates` (`last_seen_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_discovered_certificates_created_at` ON `discovered_certificates` (`created_at`,`id`);
--> statement-breakpoint
CREATE INDEX `idx_discovered_certificates_managed` ON `discovered_certificates` (`managed_certificate_id`) WHERE managed_certificate_id is not null;
--> statement-breakpoint
CREATE TABLE `network_scan_targets` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`cidrs` text NOT NULL,
	`ports` text NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`scan_interval_hours` integer DEFAULT 6 NOT NULL,
	`timeout_ms` integer DEFAULT 5000 NOT NULL,
	`last_scan_at` integer,
	`last_scan_duration_ms` integer,
	`last_scan_certs_found` integer,
	`health_check_enabled` integer DEFAULT false NOT NULL,
	`health_check_interval_seconds` integer DEFAULT 300 NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `idx_network_scan_targets_enabled` ON `network_scan_targets` (`enabled`) WHERE enabled;
--> statement-breakpoint
CREATE TABLE `endpoint_health_checks` (
	`id` text PRIMARY KEY NOT NULL,
	`endpoint` text NOT NULL,
	`certificate_id` text,
	`network_scan_target_id` text,
	`expected_fingerprint` text DEFAULT '' NOT NULL,
	`observed_fingerprint` text DEFAULT '' NOT NULL,
	`status` text DEFAULT 'unknown' NOT NULL,
	`consecutive_failures` integer DEFAULT 0 NOT NULL,
	`response_time_ms` integer DEFAULT 0 NOT NULL,
	`tls_version` text DEFAULT '' NOT NULL,
	`cipher_suite` text DEFAULT '' NOT NULL,
	`cert_subject` text DEFAULT '' NOT NULL,
	`cert_issuer` text DEFAULT '' NOT NULL,
	`cert_expiry` integer,
	`last_checked_at` integer,
	`last_success_at` integer,
	`last_failure_at` integer,
	`last_transition_at` integer,
	`failure_reason` text DEFAULT '' NOT NULL,
	`degraded_threshold` integer DEFAULT 2 NOT NULL,
	`down_threshold` integer DEFAULT 5 NOT NULL,
	`check_interval_seconds` integer DEFAULT 300 NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`acknowledged` integer DEFAULT false NOT NULL,
	`acknowledged_by` text DEFAULT '' NOT NULL,
	`acknowledged_at` integer,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`certificate_id`) REFERENCES `managed_certificates`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`network_scan_target_id`) REFERENCES `network_scan_targets`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `idx_endpoint_health_checks_status` ON `endpoint_health_checks` (`status`);
--> statement-breakpoint
CREATE INDEX `idx_endpoint_health_checks_endpoint` ON `endpoint_health_checks` (`endpoint`);
--> statement-breakpoint
CREATE INDEX `idx_endpoint_health_checks_enabled` ON `endpoint_health_checks` (`enabled`) WHERE enabled;
--> statement-breakpoint
CREATE INDEX `idx_endpoint_health_checks_created_at` ON `endpoint_health_checks` (`created_at`,`id`);
--> statement-breakpoint
CREATE UNIQUE INDEX `uq_endpoint_health_checks_certificate_id_endpoint` ON `endpoint_health_checks` (`certificate_id`,`endpoint`) WHERE certificate_id is not null;
--> statement-breakpoint
CREATE TABLE `endpoint_health_history` (
	`id` text PRIMARY KEY NOT NULL,
	`health_check_id` text NOT NULL,
	`status` text NOT NULL,
	`response_time_ms` integer DEFAULT 0 NOT NULL,
	`fingerprint` text DEFAULT '' NOT NULL,
	`failure_reason` text DEFAULT '' NOT NULL,
	`checked_at` integer NOT NULL,
	FOREIGN KEY (`health_check_id`) REFERENCES `endpoint_health_checks`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `idx_endpoint_health_history_check` ON `endpoint_health_history` (`health_check_id`,`checked_at`);
