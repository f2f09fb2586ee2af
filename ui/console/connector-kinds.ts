/** What each kind of issuer and target is for, where somebody chooses one. A kind without words of its own shows its name alone. */
import type { Kind } from "../pages/resource-form.page"

const words: Readonly<Record<string, string>> = {
  ACME: "Let's Encrypt and every other CA that speaks ACME.",
  GenericCA: "The CA inside certctl: its own root, or a subordinate CA loaded from two files.",
  StepCA: "A step-ca server of your own.",
  VaultPKI: "The PKI secrets engine of HashiCorp Vault or OpenBao.",
  DigiCert: "DigiCert CertCentral.",
  OpenSSL: "A CA behind scripts of your own.",
  Sectigo: "Sectigo Certificate Manager.",
  GoogleCAS: "Google Cloud Certificate Authority Service.",
  AWSACMPCA: "AWS Private Certificate Authority.",
  Entrust: "Entrust Certificate Services.",
  GlobalSign: "GlobalSign Atlas.",
  EJBCA: "An EJBCA server.",
  NGINX: "Certificate, chain and key files of NGINX, with its own check and a reload.",
  Apache: "Certificate, chain and key files of Apache httpd.",
  HAProxy: "One PEM file with everything, as HAProxy reads it.",
  Traefik: "Files in a folder that Traefik watches.",
  Caddy: "Caddy, through its admin API or its files.",
  Envoy: "Files that Envoy reads, with its secret discovery where wanted.",
  Postfix: "The mail server's certificate and key.",
  Dovecot: "The IMAP server's certificate and key.",
  F5: "A client SSL profile on F5 BIG-IP.",
  IIS: "A binding of a site in Internet Information Services.",
  SSH: "Files on another host, over SSH.",
  WinCertStore: "A certificate store of Windows.",
  JavaKeystore: "A PKCS#12 or JKS key store of a Java program.",
  KubernetesSecrets: "A TLS secret in a Kubernetes namespace.",
}

export const kindsOf = (definitions: readonly { readonly type: string; readonly label: string }[]): Kind[] =>
  definitions
    .map(({ type, label }) => ({ type, label, description: words[type] ?? "" }))
    .sort((a, b) => (a.label < b.label ? -1 : 1))
