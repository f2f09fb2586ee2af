CREATE TABLE "teams" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "teams_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "owners" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"email" text DEFAULT '' NOT NULL,
	"team_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "agent_groups" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"match_os" text DEFAULT '' NOT NULL,
	"match_architecture" text DEFAULT '' NOT NULL,
	"match_ip_cidr" text DEFAULT '' NOT NULL,
	"match_version" text DEFAULT '' NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "agent_groups_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "certificate_profiles" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"description" text DEFAULT '' NOT NULL,
	"allowed_key_algorithms" text NOT NULL,
	"max_ttl_seconds" bigint DEFAULT 0 NOT NULL,
	"allowed_ekus" text NOT NULL,
	"required_san_patterns" text NOT NULL,
	"spiffe_uri_pattern" text DEFAULT '' NOT NULL,
	"allow_short_lived" boolean DEFAULT false NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"required_csr_attributes" text NOT NULL,
	"must_staple" boolean DEFAULT false NOT NULL,
	"requires_approval" boolean DEFAULT false NOT NULL,
	"acme_auth_mode" text,
	"acme_issuer_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "certificate_profiles_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "renewal_policies" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"renewal_window_days" bigint NOT NULL,
	"auto_renew" boolean DEFAULT true NOT NULL,
	"max_retries" bigint DEFAULT 3 NOT NULL,
	"retry_interval_seconds" bigint DEFAULT 60 NOT NULL,
	"rollout" text DEFAULT 'one_first' NOT NULL,
	"alert_thresholds_days" text NOT NULL,
	"certificate_profile_id" text,
	"agent_group_id" text,
	"alert_channels" text NOT NULL,
	"alert_severity_map" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "renewal_policies_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "issuers" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"config" text NOT NULL,
	"encrypted_config" "bytea",
	"encrypted_state" "bytea",
	"enabled" boolean DEFAULT true NOT NULL,
	"last_tested_at" timestamp (3) with time zone,
	"test_status" text DEFAULT 'untested' NOT NULL,
	"source" text DEFAULT 'database' NOT NULL,
	"hierarchy_mode" text DEFAULT 'single' NOT NULL,
	"degraded_since" timestamp (3) with time zone,
	"degraded_reason" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "issuers_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "ca_keys" (
	"issuer_id" text NOT NULL,
	"ski" text NOT NULL,
	"cert_pem" text NOT NULL,
	"chain_pem" text NOT NULL,
	"encrypted_key" "bytea" NOT NULL,
	"state" text NOT NULL,
	"former_ski" text,
	"new_with_old_pem" text,
	"old_with_new_pem" text,
	"bridged_until" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "ca_keys_issuer_id_ski_pk" PRIMARY KEY("issuer_id","ski")
);
--> statement-breakpoint
CREATE TABLE "agents" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"hostname" text NOT NULL,
	"status" text DEFAULT 'Offline' NOT NULL,
	"last_heartbeat_at" timestamp (3) with time zone,
	"registered_at" timestamp (3) with time zone NOT NULL,
	"api_key_hash" text DEFAULT '' NOT NULL,
	"os" text DEFAULT '' NOT NULL,
	"architecture" text DEFAULT '' NOT NULL,
	"ip_address" text DEFAULT '' NOT NULL,
	"version" text DEFAULT '' NOT NULL,
	"takes_checks" boolean DEFAULT false NOT NULL,
	"retired_at" timestamp (3) with time zone,
	"retired_reason" text
);
--> statement-breakpoint
CREATE TABLE "join_tokens" (
	"id" text PRIMARY KEY NOT NULL,
	"hash" text NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"used_at" timestamp (3) with time zone,
	"agent_id" text,
	CONSTRAINT "join_tokens_hash_unique" UNIQUE("hash")
);
--> statement-breakpoint
CREATE TABLE "agent_group_members" (
	"agent_group_id" text NOT NULL,
	"agent_id" text NOT NULL,
	"membership_type" text DEFAULT 'include' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "agent_group_members_agent_group_id_agent_id_pk" PRIMARY KEY("agent_group_id","agent_id")
);
--> statement-breakpoint
CREATE TABLE "deployment_targets" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"agent_id" text NOT NULL,
	"config" text NOT NULL,
	"encrypted_config" "bytea",
	"enabled" boolean DEFAULT true NOT NULL,
	"deployment_windows" text,
	"last_tested_at" timestamp (3) with time zone,
	"test_status" text DEFAULT 'untested' NOT NULL,
	"source" text DEFAULT 'database' NOT NULL,
	"retired_at" timestamp (3) with time zone,
	"retired_reason" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "managed_certificates" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"common_name" text NOT NULL,
	"sans" text NOT NULL,
	"environment" text DEFAULT '' NOT NULL,
	"owner_id" text NOT NULL,
	"team_id" text NOT NULL,
	"issuer_id" text NOT NULL,
	"renewal_policy_id" text NOT NULL,
	"certificate_profile_id" text,
	"status" text DEFAULT 'Pending' NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"renew_at" timestamp (3) with time zone,
	"tags" text NOT NULL,
	"last_renewal_at" timestamp (3) with time zone,
	"last_deployment_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone,
	"revocation_reason" text,
	"source" text DEFAULT '' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "managed_certificates_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "certificate_versions" (
	"id" text PRIMARY KEY NOT NULL,
	"certificate_id" text NOT NULL,
	"serial_number" text NOT NULL,
	"not_before" timestamp (3) with time zone NOT NULL,
	"not_after" timestamp (3) with time zone NOT NULL,
	"fingerprint_sha256" text NOT NULL,
	"pem_chain" text NOT NULL,
	"csr_pem" text DEFAULT '' NOT NULL,
	"key_algorithm" text DEFAULT '' NOT NULL,
	"key_size" bigint DEFAULT 0 NOT NULL,
	"issuer_id" text,
	"agent_id" text,
	"order_id" text,
	"encrypted_key" "bytea",
	"short_lived" boolean DEFAULT false NOT NULL,
	"renew_at" timestamp (3) with time zone,
	"ari_next_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "certificate_versions_fingerprint_sha256_unique" UNIQUE("fingerprint_sha256")
);
--> statement-breakpoint
CREATE TABLE "certificate_target_mappings" (
	"certificate_id" text NOT NULL,
	"target_id" text NOT NULL,
	CONSTRAINT "certificate_target_mappings_certificate_id_target_id_pk" PRIMARY KEY("certificate_id","target_id")
);
--> statement-breakpoint
CREATE TABLE "certificate_revocations" (
	"id" text PRIMARY KEY NOT NULL,
	"certificate_id" text NOT NULL,
	"serial_number" text NOT NULL,
	"reason" text DEFAULT 'unspecified' NOT NULL,
	"revoked_by" text NOT NULL,
	"revoked_at" timestamp (3) with time zone NOT NULL,
	"issuer_id" text,
	"not_after" timestamp (3) with time zone,
	"short_lived" boolean DEFAULT false NOT NULL,
	"issuer_notified" boolean DEFAULT false NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "crl_cache" (
	"issuer_id" text NOT NULL,
	"ca_ski" text NOT NULL,
	"crl_der" "bytea" NOT NULL,
	"crl_number" bigint NOT NULL,
	"this_update" timestamp (3) with time zone NOT NULL,
	"next_update" timestamp (3) with time zone NOT NULL,
	"generated_at" timestamp (3) with time zone NOT NULL,
	"generation_duration_ms" bigint NOT NULL,
	"revoked_count" bigint NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "crl_cache_issuer_id_ca_ski_pk" PRIMARY KEY("issuer_id","ca_ski")
);
--> statement-breakpoint
CREATE TABLE "crl_generation_events" (
	"id" text PRIMARY KEY NOT NULL,
	"issuer_id" text NOT NULL,
	"crl_number" bigint NOT NULL,
	"duration_ms" bigint NOT NULL,
	"revoked_count" bigint NOT NULL,
	"started_at" timestamp (3) with time zone NOT NULL,
	"succeeded" boolean NOT NULL,
	"error" text
);
--> statement-breakpoint
CREATE TABLE "ocsp_responders" (
	"issuer_id" text NOT NULL,
	"ca_ski" text NOT NULL,
	"cert_pem" text NOT NULL,
	"cert_serial" text NOT NULL,
	"encrypted_key" "bytea" NOT NULL,
	"key_alg" text NOT NULL,
	"not_before" timestamp (3) with time zone NOT NULL,
	"not_after" timestamp (3) with time zone NOT NULL,
	"rotated_from" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "ocsp_responders_issuer_id_ca_ski_pk" PRIMARY KEY("issuer_id","ca_ski")
);
--> statement-breakpoint
CREATE TABLE "intermediate_cas" (
	"id" text PRIMARY KEY NOT NULL,
	"owning_issuer_id" text NOT NULL,
	"parent_ca_id" text,
	"name" text NOT NULL,
	"subject" text NOT NULL,
	"ski" text NOT NULL,
	"state" text DEFAULT 'active' NOT NULL,
	"cert_pem" text NOT NULL,
	"key_driver_id" text NOT NULL,
	"not_before" timestamp (3) with time zone NOT NULL,
	"not_after" timestamp (3) with time zone NOT NULL,
	"path_len_constraint" bigint,
	"name_constraints" text NOT NULL,
	"ocsp_responder_url" text DEFAULT '' NOT NULL,
	"metadata" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "intermediate_cas_state" CHECK (state in ('active', 'retiring', 'retired')),
	CONSTRAINT "intermediate_cas_validity" CHECK (not_after > not_before),
	CONSTRAINT "intermediate_cas_parent" CHECK (parent_ca_id is null or parent_ca_id <> id)
);
--> statement-breakpoint
CREATE TABLE "scep_registration_authorities" (
	"issuer_id" text NOT NULL,
	"cert_serial" text NOT NULL,
	"ca_ski" text NOT NULL,
	"cert_pem" text NOT NULL,
	"encrypted_key" "bytea" NOT NULL,
	"state" text NOT NULL,
	"not_before" timestamp (3) with time zone NOT NULL,
	"not_after" timestamp (3) with time zone NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "scep_registration_authorities_issuer_id_cert_serial_pk" PRIMARY KEY("issuer_id","cert_serial")
);
--> statement-breakpoint
CREATE TABLE "scep_challenges" (
	"id" text PRIMARY KEY NOT NULL,
	"hash" text NOT NULL,
	"path_id" text NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"used_at" timestamp (3) with time zone,
	"waiting_csr_hash" text,
	CONSTRAINT "scep_challenges_hash_unique" UNIQUE("hash")
);
--> statement-breakpoint
CREATE TABLE "acme_accounts" (
	"account_id" text PRIMARY KEY NOT NULL,
	"jwk_thumbprint" text NOT NULL,
	"jwk_pem" text NOT NULL,
	"contact" text NOT NULL,
	"status" text NOT NULL,
	"profile_id" text NOT NULL,
	"owner_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "acme_external_accounts" (
	"id" text PRIMARY KEY NOT NULL,
	"profile_id" text NOT NULL,
	"owner_id" text,
	"encrypted_key" "bytea" NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"account_id" text,
	"bound_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "acme_orders" (
	"order_id" text PRIMARY KEY NOT NULL,
	"account_id" text NOT NULL,
	"identifiers" text NOT NULL,
	"status" text NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"error" text,
	"csr_pem" text,
	"certificate_id" text,
	"version_id" text,
	"replaces_id" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "acme_authorizations" (
	"authz_id" text PRIMARY KEY NOT NULL,
	"order_id" text NOT NULL,
	"identifier" text NOT NULL,
	"status" text NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"wildcard" boolean NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "acme_challenges" (
	"challenge_id" text PRIMARY KEY NOT NULL,
	"authz_id" text NOT NULL,
	"type" text NOT NULL,
	"status" text NOT NULL,
	"token" text NOT NULL,
	"validated_at" timestamp (3) with time zone,
	"error" text,
	"claimed_until" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "acme_nonces" (
	"nonce" text PRIMARY KEY NOT NULL,
	"issued_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "rollouts" (
	"id" text PRIMARY KEY NOT NULL,
	"certificate_id" text NOT NULL,
	"state" text NOT NULL,
	"waves" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"finished_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "jobs" (
	"id" text PRIMARY KEY NOT NULL,
	"type" text NOT NULL,
	"certificate_id" text,
	"target_id" text,
	"agent_id" text,
	"status" text DEFAULT 'Pending' NOT NULL,
	"attempts" bigint DEFAULT 0 NOT NULL,
	"max_attempts" bigint DEFAULT 3 NOT NULL,
	"last_error" text,
	"deployment_result" text,
	"requested_by" text,
	"version_id" text,
	"rollout_id" text,
	"wave" bigint,
	"hold" text,
	"ignores_windows" boolean DEFAULT false NOT NULL,
	"csr_pem" text,
	"order_id" text,
	"next_poll_at" timestamp (3) with time zone,
	"status_since" timestamp (3) with time zone NOT NULL,
	"deadline" timestamp (3) with time zone,
	"lease_until" timestamp (3) with time zone,
	"lease_holder" text,
	"scheduled_at" timestamp (3) with time zone NOT NULL,
	"started_at" timestamp (3) with time zone,
	"completed_at" timestamp (3) with time zone,
	"verification_status" text DEFAULT 'pending' NOT NULL,
	"verified_at" timestamp (3) with time zone,
	"verification_fingerprint" text,
	"verification_expected" text,
	"verification_error" text,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "observations" (
	"id" text PRIMARY KEY NOT NULL,
	"certificate_id" text NOT NULL,
	"target_id" text,
	"endpoint" text DEFAULT '' NOT NULL,
	"kind" text NOT NULL,
	"fingerprint" text DEFAULT '' NOT NULL,
	"ok" boolean NOT NULL,
	"detail" text DEFAULT '' NOT NULL,
	"observer" text NOT NULL,
	"observed_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "issuance_approval_requests" (
	"id" text PRIMARY KEY NOT NULL,
	"certificate_id" text NOT NULL,
	"job_id" text NOT NULL,
	"profile_id" text NOT NULL,
	"requested_by" text NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"decided_by" text,
	"decided_at" timestamp (3) with time zone,
	"decision_note" text,
	"metadata" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "issuance_approval_requests_state" CHECK (state in ('pending', 'approved', 'rejected', 'expired')),
	CONSTRAINT "issuance_approval_requests_undecided" CHECK (state <> 'pending' or (decided_by is null and decided_at is null and decision_note is null)),
	CONSTRAINT "issuance_approval_requests_decided" CHECK (state = 'pending' or decided_at is not null)
);
--> statement-breakpoint
CREATE TABLE "policy_rules" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"type" text NOT NULL,
	"config" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"severity" text DEFAULT 'Warning' NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "policy_rules_name_unique" UNIQUE("name"),
	CONSTRAINT "policy_rules_severity" CHECK (severity in ('Warning', 'Error', 'Critical'))
);
--> statement-breakpoint
CREATE TABLE "policy_violations" (
	"id" text PRIMARY KEY NOT NULL,
	"certificate_id" text NOT NULL,
	"rule_id" text NOT NULL,
	"message" text NOT NULL,
	"severity" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "policy_violations_severity" CHECK (severity in ('Warning', 'Error', 'Critical'))
);
--> statement-breakpoint
CREATE TABLE "notification_events" (
	"id" text PRIMARY KEY NOT NULL,
	"type" text NOT NULL,
	"certificate_id" text,
	"channel" text NOT NULL,
	"recipient" text NOT NULL,
	"message" text NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"sent_at" timestamp (3) with time zone,
	"error" text,
	"retry_count" bigint DEFAULT 0 NOT NULL,
	"next_retry_at" timestamp (3) with time zone,
	"last_error" text,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_events" (
	"id" text PRIMARY KEY NOT NULL,
	"actor" text NOT NULL,
	"actor_type" text NOT NULL,
	"action" text NOT NULL,
	"resource_type" text NOT NULL,
	"resource_id" text NOT NULL,
	"details" text NOT NULL,
	"timestamp" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_leaves" (
	"seq" bigint PRIMARY KEY NOT NULL,
	"event_id" text NOT NULL,
	"leaf_hash" text NOT NULL,
	CONSTRAINT "audit_leaves_event_id_unique" UNIQUE("event_id")
);
--> statement-breakpoint
CREATE TABLE "api_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"hash" text NOT NULL,
	"principal" text NOT NULL,
	"role" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"last_used_at" timestamp (3) with time zone,
	"disabled_at" timestamp (3) with time zone,
	CONSTRAINT "api_keys_name_unique" UNIQUE("name"),
	CONSTRAINT "api_keys_hash_unique" UNIQUE("hash"),
	CONSTRAINT "api_keys_role" CHECK (role in ('admin', 'operator', 'viewer'))
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id_hash" text PRIMARY KEY NOT NULL,
	"api_key_id" text,
	"key_hash" text NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"last_seen_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "preferences" (
	"principal" text NOT NULL,
	"name" text NOT NULL,
	"value" text NOT NULL,
	CONSTRAINT "preferences_principal_name_pk" PRIMARY KEY("principal","name")
);
--> statement-breakpoint
CREATE TABLE "leases" (
	"loop" text PRIMARY KEY NOT NULL,
	"holder" text NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"fence" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "outbox" (
	"id" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"lane" text NOT NULL,
	"payload" text NOT NULL,
	"attempts" bigint DEFAULT 0 NOT NULL,
	"next_at" timestamp (3) with time zone NOT NULL,
	"last_error" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"done_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "allowances" (
	"name" text PRIMARY KEY NOT NULL,
	"since" timestamp (3) with time zone NOT NULL,
	"used" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "settings" (
	"name" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "row_counts" (
	"list" text NOT NULL,
	"day" bigint NOT NULL,
	"d1" text NOT NULL,
	"d2" text NOT NULL,
	"d3" text NOT NULL,
	"d4" text NOT NULL,
	"d5" text NOT NULL,
	"d6" text NOT NULL,
	"n" bigint NOT NULL,
	CONSTRAINT "row_counts_list_day_d1_d2_d3_d4_d5_d6_pk" PRIMARY KEY("list","day","d1","d2","d3","d4","d5","d6")
);
--> statement-breakpoint
CREATE TABLE "row_changes" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "row_changes_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"source" text NOT NULL,
	"n" bigint NOT NULL,
	"d1" text NOT NULL,
	"d2" text NOT NULL,
	"d3" text NOT NULL,
	"d4" text NOT NULL,
	"d5" text NOT NULL,
	"d6" text NOT NULL,
	"day1" bigint,
	"day2" bigint
);
--> statement-breakpoint
CREATE TABLE "search_docs" (
	"doc" bigint PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"id" text NOT NULL,
	"text" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "search_marks" (
	"kind" text PRIMARY KEY NOT NULL,
	"doc" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "discovery_scans" (
	"id" text PRIMARY KEY NOT NULL,
	"agent_id" text NOT NULL,
	"directories" text NOT NULL,
	"certificates_found" bigint DEFAULT 0 NOT NULL,
	"certificates_new" bigint DEFAULT 0 NOT NULL,
	"errors_count" bigint DEFAULT 0 NOT NULL,
	"scan_duration_ms" bigint DEFAULT 0 NOT NULL,
	"started_at" timestamp (3) with time zone NOT NULL,
	"completed_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "discovered_certificates" (
	"id" text PRIMARY KEY NOT NULL,
	"fingerprint_sha256" text NOT NULL,
	"common_name" text DEFAULT '' NOT NULL,
	"sans" text NOT NULL,
	"serial_number" text DEFAULT '' NOT NULL,
	"issuer_dn" text DEFAULT '' NOT NULL,
	"subject_dn" text DEFAULT '' NOT NULL,
	"not_before" timestamp (3) with time zone,
	"not_after" timestamp (3) with time zone,
	"key_algorithm" text DEFAULT '' NOT NULL,
	"key_size" bigint DEFAULT 0 NOT NULL,
	"is_ca" boolean DEFAULT false NOT NULL,
	"pem_data" text DEFAULT '' NOT NULL,
	"source_path" text DEFAULT '' NOT NULL,
	"source_format" text DEFAULT 'PEM' NOT NULL,
	"agent_id" text NOT NULL,
	"discovery_scan_id" text,
	"managed_certificate_id" text,
	"status" text DEFAULT 'Unmanaged' NOT NULL,
	"first_seen_at" timestamp (3) with time zone NOT NULL,
	"last_seen_at" timestamp (3) with time zone NOT NULL,
	"dismissed_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "network_scan_targets" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"cidrs" text NOT NULL,
	"ports" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"scan_interval_hours" bigint DEFAULT 6 NOT NULL,
	"timeout_ms" bigint DEFAULT 5000 NOT NULL,
	"last_scan_at" timestamp (3) with time zone,
	"last_scan_duration_ms" bigint,
	"last_scan_certs_found" bigint,
	"health_check_enabled" boolean DEFAULT false NOT NULL,
	"health_check_interval_seconds" bigint DEFAULT 300 NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "endpoint_health_checks" (
	"id" text PRIMARY KEY NOT NULL,
	"endpoint" text NOT NULL,
	"certificate_id" text,
	"network_scan_target_id" text,
	"expected_fingerprint" text DEFAULT '' NOT NULL,
	"observed_fingerprint" text DEFAULT '' NOT NULL,
	"status" text DEFAULT 'unknown' NOT NULL,
	"consecutive_failures" bigint DEFAULT 0 NOT NULL,
	"response_time_ms" bigint DEFAULT 0 NOT NULL,
	"tls_version" text DEFAULT '' NOT NULL,
	"cipher_suite" text DEFAULT '' NOT NULL,
	"cert_subject" text DEFAULT '' NOT NULL,
	"cert_issuer" text DEFAULT '' NOT NULL,
	"cert_expiry" timestamp (3) with time zone,
	"last_checked_at" timestamp (3) with time zone,
	"last_success_at" timestamp (3) with time zone,
	"last_failure_at" timestamp (3) with time zone,
	"last_transition_at" timestamp (3) with time zone,
	"failure_reason" text DEFAULT '' NOT NULL,
	"degraded_threshold" bigint DEFAULT 2 NOT NULL,
	"down_threshold" bigint DEFAULT 5 NOT NULL,
	"check_interval_seconds" bigint DEFAULT 300 NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"acknowledged" boolean DEFAULT false NOT NULL,
	"acknowledged_by" text DEFAULT '' NOT NULL,
	"acknowledged_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "endpoint_health_history" (
	"id" text PRIMARY KEY NOT NULL,
	"health_check_id" text NOT NULL,
	"status" text NOT NULL,
	"response_time_ms" bigint DEFAULT 0 NOT NULL,
	"fingerprint" text DEFAULT '' NOT NULL,
	"failure_reason" text DEFAULT '' NOT NULL,
	"checked_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "owners" ADD CONSTRAINT "owners_team_id_teams_id_fk" FOREIGN KEY ("team_id") REFERENCES "public"."teams"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_profiles" ADD CONSTRAINT "certificate_profiles_acme_issuer_id_issuers_id_fk" FOREIGN KEY ("acme_issuer_id") REFERENCES "public"."issuers"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "renewal_policies" ADD CONSTRAINT "renewal_policies_certificate_profile_id_certificate_profiles_id_fk" FOREIGN KEY ("certificate_profile_id") REFERENCES "public"."certificate_profiles"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "renewal_policies" ADD CONSTRAINT "renewal_policies_agent_group_id_agent_groups_id_fk" FOREIGN KEY ("agent_group_id") REFERENCES "public"."agent_groups"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "ca_keys" ADD CONSTRAINT "ca_keys_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "join_tokens" ADD CONSTRAINT "join_tokens_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "agent_group_members" ADD CONSTRAINT "agent_group_members_agent_group_id_agent_groups_id_fk" FOREIGN KEY ("agent_group_id") REFERENCES "public"."agent_groups"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "agent_group_members" ADD CONSTRAINT "agent_group_members_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "deployment_targets" ADD CONSTRAINT "deployment_targets_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "managed_certificates" ADD CONSTRAINT "managed_certificates_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "managed_certificates" ADD CONSTRAINT "managed_certificates_team_id_teams_id_fk" FOREIGN KEY ("team_id") REFERENCES "public"."teams"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "managed_certificates" ADD CONSTRAINT "managed_certificates_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "managed_certificates" ADD CONSTRAINT "managed_certificates_renewal_policy_id_renewal_policies_id_fk" FOREIGN KEY ("renewal_policy_id") REFERENCES "public"."renewal_policies"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "managed_certificates" ADD CONSTRAINT "managed_certificates_certificate_profile_id_certificate_profiles_id_fk" FOREIGN KEY ("certificate_profile_id") REFERENCES "public"."certificate_profiles"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_versions" ADD CONSTRAINT "certificate_versions_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_versions" ADD CONSTRAINT "certificate_versions_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_versions" ADD CONSTRAINT "certificate_versions_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_target_mappings" ADD CONSTRAINT "certificate_target_mappings_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_target_mappings" ADD CONSTRAINT "certificate_target_mappings_target_id_deployment_targets_id_fk" FOREIGN KEY ("target_id") REFERENCES "public"."deployment_targets"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_revocations" ADD CONSTRAINT "certificate_revocations_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "certificate_revocations" ADD CONSTRAINT "certificate_revocations_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "crl_cache" ADD CONSTRAINT "crl_cache_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "crl_generation_events" ADD CONSTRAINT "crl_generation_events_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "ocsp_responders" ADD CONSTRAINT "ocsp_responders_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "intermediate_cas" ADD CONSTRAINT "intermediate_cas_owning_issuer_id_issuers_id_fk" FOREIGN KEY ("owning_issuer_id") REFERENCES "public"."issuers"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "intermediate_cas" ADD CONSTRAINT "intermediate_cas_parent_ca_id_intermediate_cas_id_fk" FOREIGN KEY ("parent_ca_id") REFERENCES "public"."intermediate_cas"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "scep_registration_authorities" ADD CONSTRAINT "scep_registration_authorities_issuer_id_issuers_id_fk" FOREIGN KEY ("issuer_id") REFERENCES "public"."issuers"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_accounts" ADD CONSTRAINT "acme_accounts_profile_id_certificate_profiles_id_fk" FOREIGN KEY ("profile_id") REFERENCES "public"."certificate_profiles"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_accounts" ADD CONSTRAINT "acme_accounts_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_external_accounts" ADD CONSTRAINT "acme_external_accounts_profile_id_certificate_profiles_id_fk" FOREIGN KEY ("profile_id") REFERENCES "public"."certificate_profiles"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_external_accounts" ADD CONSTRAINT "acme_external_accounts_owner_id_owners_id_fk" FOREIGN KEY ("owner_id") REFERENCES "public"."owners"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_external_accounts" ADD CONSTRAINT "acme_external_accounts_account_id_acme_accounts_account_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."acme_accounts"("account_id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_orders" ADD CONSTRAINT "acme_orders_account_id_acme_accounts_account_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."acme_accounts"("account_id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_orders" ADD CONSTRAINT "acme_orders_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_orders" ADD CONSTRAINT "acme_orders_version_id_certificate_versions_id_fk" FOREIGN KEY ("version_id") REFERENCES "public"."certificate_versions"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_orders" ADD CONSTRAINT "acme_orders_replaces_id_certificate_versions_id_fk" FOREIGN KEY ("replaces_id") REFERENCES "public"."certificate_versions"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_authorizations" ADD CONSTRAINT "acme_authorizations_order_id_acme_orders_order_id_fk" FOREIGN KEY ("order_id") REFERENCES "public"."acme_orders"("order_id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "acme_challenges" ADD CONSTRAINT "acme_challenges_authz_id_acme_authorizations_authz_id_fk" FOREIGN KEY ("authz_id") REFERENCES "public"."acme_authorizations"("authz_id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "rollouts" ADD CONSTRAINT "rollouts_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_target_id_deployment_targets_id_fk" FOREIGN KEY ("target_id") REFERENCES "public"."deployment_targets"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_version_id_certificate_versions_id_fk" FOREIGN KEY ("version_id") REFERENCES "public"."certificate_versions"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "jobs" ADD CONSTRAINT "jobs_rollout_id_rollouts_id_fk" FOREIGN KEY ("rollout_id") REFERENCES "public"."rollouts"("id") ON DELETE set null ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "observations" ADD CONSTRAINT "observations_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "observations" ADD CONSTRAINT "observations_target_id_deployment_targets_id_fk" FOREIGN KEY ("target_id") REFERENCES "public"."deployment_targets"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "issuance_approval_requests" ADD CONSTRAINT "issuance_approval_requests_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "issuance_approval_requests" ADD CONSTRAINT "issuance_approval_requests_job_id_jobs_id_fk" FOREIGN KEY ("job_id") REFERENCES "public"."jobs"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "issuance_approval_requests" ADD CONSTRAINT "issuance_approval_requests_profile_id_certificate_profiles_id_fk" FOREIGN KEY ("profile_id") REFERENCES "public"."certificate_profiles"("id") ON DELETE restrict ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "policy_violations" ADD CONSTRAINT "policy_violations_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "policy_violations" ADD CONSTRAINT "policy_violations_rule_id_policy_rules_id_fk" FOREIGN KEY ("rule_id") REFERENCES "public"."policy_rules"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "notification_events" ADD CONSTRAINT "notification_events_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "audit_leaves" ADD CONSTRAINT "audit_leaves_event_id_audit_events_id_fk" FOREIGN KEY ("event_id") REFERENCES "public"."audit_events"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_api_key_id_api_keys_id_fk" FOREIGN KEY ("api_key_id") REFERENCES "public"."api_keys"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "discovery_scans" ADD CONSTRAINT "discovery_scans_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "discovered_certificates" ADD CONSTRAINT "discovered_certificates_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "discovered_certificates" ADD CONSTRAINT "discovered_certificates_discovery_scan_id_discovery_scans_id_fk" FOREIGN KEY ("discovery_scan_id") REFERENCES "public"."discovery_scans"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "discovered_certificates" ADD CONSTRAINT "discovered_certificates_managed_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("managed_certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "endpoint_health_checks" ADD CONSTRAINT "endpoint_health_checks_certificate_id_managed_certificates_id_fk" FOREIGN KEY ("certificate_id") REFERENCES "public"."managed_certificates"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "endpoint_health_checks" ADD CONSTRAINT "endpoint_health_checks_network_scan_target_id_network_scan_targets_id_fk" FOREIGN KEY ("network_scan_target_id") REFERENCES "public"."network_scan_targets"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
ALTER TABLE "endpoint_health_history" ADD CONSTRAINT "endpoint_health_history_health_check_id_endpoint_health_checks_id_fk" FOREIGN KEY ("health_check_id") REFERENCES "public"."endpoint_health_checks"("id") ON DELETE cascade ON UPDATE no action;
--> statement-breakpoint
CREATE INDEX "idx_teams_created_at" ON "teams" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_owners_email" ON "owners" USING btree ("email");
--> statement-breakpoint
CREATE INDEX "idx_owners_team_id" ON "owners" USING btree ("team_id");
--> statement-breakpoint
CREATE INDEX "idx_owners_created_at" ON "owners" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_issuers_enabled" ON "issuers" USING btree ("enabled");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_ca_keys_active" ON "ca_keys" USING btree ("issuer_id") WHERE state = 'active';
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_agents_name" ON "agents" USING btree ("name") WHERE retired_at is null;
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_agents_api_key_hash" ON "agents" USING btree ("api_key_hash") WHERE api_key_hash <> '';
--> statement-breakpoint
CREATE INDEX "idx_agents_status" ON "agents" USING btree ("status");
--> statement-breakpoint
CREATE INDEX "idx_agents_hostname" ON "agents" USING btree ("hostname");
--> statement-breakpoint
CREATE INDEX "idx_agents_last_heartbeat_at" ON "agents" USING btree ("last_heartbeat_at");
--> statement-breakpoint
CREATE INDEX "idx_agents_os" ON "agents" USING btree ("os");
--> statement-breakpoint
CREATE INDEX "idx_agents_architecture" ON "agents" USING btree ("architecture");
--> statement-breakpoint
CREATE INDEX "idx_agents_registered_at" ON "agents" USING btree ("registered_at","id");
--> statement-breakpoint
CREATE INDEX "idx_agents_online" ON "agents" USING btree ("status","last_heartbeat_at") WHERE status = 'Online';
--> statement-breakpoint
CREATE INDEX "idx_agents_retired_at" ON "agents" USING btree ("retired_at","id") WHERE retired_at is not null;
--> statement-breakpoint
CREATE INDEX "idx_join_tokens_expires_at" ON "join_tokens" USING btree ("expires_at");
--> statement-breakpoint
CREATE INDEX "idx_join_tokens_created_at" ON "join_tokens" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_agent_group_members_agent_id" ON "agent_group_members" USING btree ("agent_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_deployment_targets_agent_id_name" ON "deployment_targets" USING btree ("agent_id","name");
--> statement-breakpoint
CREATE INDEX "idx_deployment_targets_enabled" ON "deployment_targets" USING btree ("enabled");
--> statement-breakpoint
CREATE INDEX "idx_deployment_targets_name" ON "deployment_targets" USING btree ("name");
--> statement-breakpoint
CREATE INDEX "idx_deployment_targets_created_at" ON "deployment_targets" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_deployment_targets_retired_at" ON "deployment_targets" USING btree ("retired_at") WHERE retired_at is not null;
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_status" ON "managed_certificates" USING btree ("status","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_environment" ON "managed_certificates" USING btree ("environment","created_at","id","issuer_id","certificate_profile_id","team_id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_expires_at" ON "managed_certificates" USING btree ("expires_at","id","team_id","issuer_id","certificate_profile_id","environment");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_status_expires_at" ON "managed_certificates" USING btree ("status","expires_at");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_owner_id" ON "managed_certificates" USING btree ("owner_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_team_id" ON "managed_certificates" USING btree ("team_id","created_at","id","issuer_id","certificate_profile_id","environment");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_issuer_id" ON "managed_certificates" USING btree ("issuer_id","created_at","id","certificate_profile_id","environment","team_id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_renewal_policy_id" ON "managed_certificates" USING btree ("renewal_policy_id","id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_certificate_profile_id" ON "managed_certificates" USING btree ("certificate_profile_id","created_at","id","issuer_id","environment","team_id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_common_name" ON "managed_certificates" USING btree ("common_name","id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_updated_at" ON "managed_certificates" USING btree ("updated_at","id");
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_check" ON "managed_certificates" USING btree ("expires_at","id","status","renew_at","renewal_policy_id") WHERE status not in ('Failed', 'Revoked', 'Archived');
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_due" ON "managed_certificates" USING btree ("renew_at","id","expires_at","status") WHERE status not in ('Failed', 'Revoked', 'Archived');
--> statement-breakpoint
CREATE INDEX "idx_managed_certificates_created_at" ON "managed_certificates" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_certificate_versions_serial" ON "certificate_versions" USING btree ("issuer_id","serial_number");
--> statement-breakpoint
CREATE INDEX "idx_certificate_versions_newest" ON "certificate_versions" USING btree ("certificate_id","agent_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_certificate_target_mappings_target_id" ON "certificate_target_mappings" USING btree ("target_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_certificate_revocations_issuer_serial" ON "certificate_revocations" USING btree ("issuer_id","serial_number");
--> statement-breakpoint
CREATE INDEX "idx_certificate_revocations_revoked_at" ON "certificate_revocations" USING btree ("revoked_at");
--> statement-breakpoint
CREATE INDEX "idx_certificate_revocations_issuer_created_at" ON "certificate_revocations" USING btree ("issuer_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_certificate_revocations_created_at" ON "certificate_revocations" USING btree ("created_at");
--> statement-breakpoint
CREATE INDEX "idx_certificate_revocations_certificate_id" ON "certificate_revocations" USING btree ("certificate_id");
--> statement-breakpoint
CREATE INDEX "idx_certificate_revocations_serial_number" ON "certificate_revocations" USING btree ("serial_number");
--> statement-breakpoint
CREATE INDEX "idx_crl_cache_next_update" ON "crl_cache" USING btree ("next_update");
--> statement-breakpoint
CREATE INDEX "idx_crl_generation_events_issuer_id" ON "crl_generation_events" USING btree ("issuer_id","started_at");
--> statement-breakpoint
CREATE INDEX "idx_ocsp_responders_not_after" ON "ocsp_responders" USING btree ("not_after");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_intermediate_cas_name" ON "intermediate_cas" USING btree ("owning_issuer_id","name");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_intermediate_cas_active_root" ON "intermediate_cas" USING btree ("owning_issuer_id") WHERE parent_ca_id is null and state = 'active';
--> statement-breakpoint
CREATE INDEX "idx_intermediate_cas_parent_ca_id" ON "intermediate_cas" USING btree ("parent_ca_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_scep_registration_authorities_current" ON "scep_registration_authorities" USING btree ("issuer_id") WHERE state = 'current';
--> statement-breakpoint
CREATE INDEX "idx_scep_challenges_expires_at" ON "scep_challenges" USING btree ("expires_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_acme_accounts_profile_jwk" ON "acme_accounts" USING btree ("profile_id","jwk_thumbprint");
--> statement-breakpoint
CREATE INDEX "idx_acme_accounts_created_at" ON "acme_accounts" USING btree ("created_at","account_id");
--> statement-breakpoint
CREATE INDEX "idx_acme_orders_account_id" ON "acme_orders" USING btree ("account_id","created_at");
--> statement-breakpoint
CREATE INDEX "idx_acme_orders_open" ON "acme_orders" USING btree ("account_id") WHERE status in ('pending', 'ready', 'processing');
--> statement-breakpoint
CREATE INDEX "idx_acme_orders_expires_at" ON "acme_orders" USING btree ("expires_at");
--> statement-breakpoint
CREATE INDEX "idx_acme_orders_certificate_id" ON "acme_orders" USING btree ("certificate_id");
--> statement-breakpoint
CREATE INDEX "idx_acme_orders_version_id" ON "acme_orders" USING btree ("version_id");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_acme_orders_replaces_id" ON "acme_orders" USING btree ("replaces_id") WHERE replaces_id is not null and status <> 'invalid';
--> statement-breakpoint
CREATE INDEX "idx_acme_authorizations_order_id" ON "acme_authorizations" USING btree ("order_id");
--> statement-breakpoint
CREATE INDEX "idx_acme_authorizations_expiring" ON "acme_authorizations" USING btree ("expires_at") WHERE status in ('pending', 'valid');
--> statement-breakpoint
CREATE INDEX "idx_acme_challenges_authz_id" ON "acme_challenges" USING btree ("authz_id");
--> statement-breakpoint
CREATE INDEX "idx_acme_challenges_processing" ON "acme_challenges" USING btree ("claimed_until") WHERE status = 'processing';
--> statement-breakpoint
CREATE INDEX "idx_acme_nonces_expires_at" ON "acme_nonces" USING btree ("expires_at");
--> statement-breakpoint
CREATE INDEX "idx_rollouts_certificate_id" ON "rollouts" USING btree ("certificate_id");
--> statement-breakpoint
CREATE INDEX "idx_rollouts_open" ON "rollouts" USING btree ("created_at","id") WHERE state = 'running';
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_rollouts_running" ON "rollouts" USING btree ("certificate_id") WHERE state = 'running';
--> statement-breakpoint
CREATE INDEX "idx_jobs_status_created_at" ON "jobs" USING btree ("status","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_jobs_type" ON "jobs" USING btree ("type","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_jobs_certificate_id" ON "jobs" USING btree ("certificate_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_jobs_target_id" ON "jobs" USING btree ("target_id","created_at","id") WHERE target_id is not null;
--> statement-breakpoint
CREATE INDEX "idx_jobs_agent_id" ON "jobs" USING btree ("agent_id","created_at","id") WHERE agent_id is not null;
--> statement-breakpoint
CREATE INDEX "idx_jobs_rollout_id" ON "jobs" USING btree ("rollout_id") WHERE rollout_id is not null;
--> statement-breakpoint
CREATE INDEX "idx_jobs_created_at" ON "jobs" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_jobs_agent_open" ON "jobs" USING btree ("agent_id","status","created_at","id") WHERE (status || '') in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running');
--> statement-breakpoint
CREATE INDEX "idx_jobs_claimable" ON "jobs" USING btree ("created_at","id") WHERE (status || '') = 'Pending' and ((type || '') in ('Issuance', 'Renewal') or ((type || '') = 'Deployment' and target_id is null));
--> statement-breakpoint
CREATE INDEX "idx_jobs_lease_until" ON "jobs" USING btree ("lease_until","id") WHERE (status || '') = 'Running' and (type || '') in ('Issuance', 'Renewal');
--> statement-breakpoint
CREATE INDEX "idx_jobs_failed" ON "jobs" USING btree ("completed_at","id") WHERE (status || '') = 'Failed';
--> statement-breakpoint
CREATE INDEX "idx_jobs_retryable" ON "jobs" USING btree ("type","completed_at","id") WHERE (status || '') = 'Failed' and attempts < max_attempts;
--> statement-breakpoint
CREATE INDEX "idx_jobs_held" ON "jobs" USING btree ("created_at","id") WHERE (status || '') = 'Pending' and hold is not null;
--> statement-breakpoint
CREATE INDEX "idx_jobs_waiting" ON "jobs" USING btree ("status","status_since","id") WHERE (status || '') in ('AwaitingCSR', 'AwaitingApproval');
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_jobs_open_issuance" ON "jobs" USING btree ("certificate_id",coalesce(agent_id, '')) WHERE type in ('Issuance', 'Renewal') and status in ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running');
--> statement-breakpoint
CREATE INDEX "idx_observations_certificate_id" ON "observations" USING btree ("certificate_id","target_id","kind","observed_at");
--> statement-breakpoint
CREATE INDEX "idx_observations_target_id" ON "observations" USING btree ("target_id");
--> statement-breakpoint
CREATE INDEX "idx_observations_observed_at" ON "observations" USING btree ("observed_at");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_issuance_approval_requests_pending_job" ON "issuance_approval_requests" USING btree ("job_id") WHERE state = 'pending';
--> statement-breakpoint
CREATE INDEX "idx_issuance_approval_requests_job_id" ON "issuance_approval_requests" USING btree ("job_id");
--> statement-breakpoint
CREATE INDEX "idx_issuance_approval_requests_certificate_id" ON "issuance_approval_requests" USING btree ("certificate_id","created_at");
--> statement-breakpoint
CREATE INDEX "idx_issuance_approval_requests_profile_id" ON "issuance_approval_requests" USING btree ("profile_id","state","decided_by");
--> statement-breakpoint
CREATE INDEX "idx_issuance_approval_requests_state" ON "issuance_approval_requests" USING btree ("state","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_issuance_approval_requests_requested_by" ON "issuance_approval_requests" USING btree ("requested_by","created_at");
--> statement-breakpoint
CREATE INDEX "idx_issuance_approval_requests_created_at" ON "issuance_approval_requests" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_policy_rules_enabled" ON "policy_rules" USING btree ("enabled");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_policy_violations_rule_certificate" ON "policy_violations" USING btree ("rule_id","certificate_id");
--> statement-breakpoint
CREATE INDEX "idx_policy_violations_rule_id_created_at" ON "policy_violations" USING btree ("rule_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_policy_violations_certificate_id" ON "policy_violations" USING btree ("certificate_id");
--> statement-breakpoint
CREATE INDEX "idx_policy_violations_severity" ON "policy_violations" USING btree ("severity");
--> statement-breakpoint
CREATE INDEX "idx_notification_events_certificate_id" ON "notification_events" USING btree ("certificate_id","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_notification_events_unsent" ON "notification_events" USING btree ("status","created_at","id") WHERE (status || '') <> 'sent';
--> statement-breakpoint
CREATE INDEX "idx_notification_events_type" ON "notification_events" USING btree ("type","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_notification_events_sent_at" ON "notification_events" USING btree ((sent_at is not null),"sent_at","created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_notification_events_created_at" ON "notification_events" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_audit_events_resource_type" ON "audit_events" USING btree ("resource_type","timestamp");
--> statement-breakpoint
CREATE INDEX "idx_audit_events_resource_id" ON "audit_events" USING btree ("resource_id","timestamp");
--> statement-breakpoint
CREATE INDEX "idx_audit_events_actor" ON "audit_events" USING btree ("actor","timestamp");
--> statement-breakpoint
CREATE INDEX "idx_audit_events_action" ON "audit_events" USING btree ("action","timestamp");
--> statement-breakpoint
CREATE INDEX "idx_audit_events_actor_type" ON "audit_events" USING btree ("actor_type","timestamp");
--> statement-breakpoint
CREATE INDEX "idx_audit_events_changes" ON "audit_events" USING btree ("timestamp","id") WHERE resource_type <> 'api';
--> statement-breakpoint
CREATE INDEX "idx_audit_events_timestamp" ON "audit_events" USING btree ("timestamp","id");
--> statement-breakpoint
CREATE INDEX "idx_api_keys_principal" ON "api_keys" USING btree ("principal");
--> statement-breakpoint
CREATE INDEX "idx_sessions_expires_at" ON "sessions" USING btree ("expires_at");
--> statement-breakpoint
CREATE INDEX "idx_sessions_key_hash" ON "sessions" USING btree ("key_hash");
--> statement-breakpoint
CREATE INDEX "idx_outbox_lane" ON "outbox" USING btree ("lane","next_at","id") WHERE done_at is null;
--> statement-breakpoint
CREATE INDEX "idx_outbox_done_at" ON "outbox" USING btree ("done_at") WHERE done_at is not null;
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_search_docs_kind_id" ON "search_docs" USING btree ("kind","id");
--> statement-breakpoint
CREATE INDEX "idx_discovery_scans_agent_id" ON "discovery_scans" USING btree ("agent_id","started_at","id");
--> statement-breakpoint
CREATE INDEX "idx_discovery_scans_started_at" ON "discovery_scans" USING btree ("started_at","id");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_discovered_certificates_sighting" ON "discovered_certificates" USING btree ("fingerprint_sha256","agent_id","source_path");
--> statement-breakpoint
CREATE INDEX "idx_discovered_certificates_agent_id" ON "discovered_certificates" USING btree ("agent_id","last_seen_at","id");
--> statement-breakpoint
CREATE INDEX "idx_discovered_certificates_status" ON "discovered_certificates" USING btree ("status","last_seen_at","id");
--> statement-breakpoint
CREATE INDEX "idx_discovered_certificates_not_after" ON "discovered_certificates" USING btree ("not_after");
--> statement-breakpoint
CREATE INDEX "idx_discovered_certificates_last_seen_at" ON "discovered_certificates" USING btree ("last_seen_at","id");
--> statement-breakpoint
CREATE INDEX "idx_discovered_certificates_created_at" ON "discovered_certificates" USING btree ("created_at","id");
--> statement-breakpoint
CREATE INDEX "idx_discovered_certificates_managed" ON "discovered_certificates" USING btree ("managed_certificate_id") WHERE managed_certificate_id is not null;
--> statement-breakpoint
CREATE INDEX "idx_network_scan_targets_enabled" ON "network_scan_targets" USING btree ("enabled") WHERE enabled;
--> statement-breakpoint
CREATE INDEX "idx_endpoint_health_checks_status" ON "endpoint_health_checks" USING btree ("status");
--> statement-breakpoint
CREATE INDEX "idx_endpoint_health_checks_endpoint" ON "endpoint_health_checks" USING btree ("endpoint");
--> statement-breakpoint
CREATE INDEX "idx_endpoint_health_checks_enabled" ON "endpoint_health_checks" USING btree ("enabled") WHERE enabled;
--> statement-breakpoint
CREATE INDEX "idx_endpoint_health_checks_created_at" ON "endpoint_health_checks" USING btree ("created_at","id");
--> statement-breakpoint
CREATE UNIQUE INDEX "uq_endpoint_health_checks_certificate_id_endpoint" ON "endpoint_health_checks" USING btree ("certificate_id","endpoint") WHERE certificate_id is not null;
--> statement-breakpoint
CREATE INDEX "idx_endpoint_health_history_check" ON "endpoint_health_history" USING btree ("health_check_id","checked_at");
