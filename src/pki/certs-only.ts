/** A "certs-only" message: CMS SignedData without signers, the usual way to send a certificate with its chain (RFC 5652 section 5.1). */

import { contextTag, tags } from "./der.reader"
import { element, explicit, integer, oid, sequence } from "./der.writer"

const signedData = oid("1.2.840.113549.1.7.2")
const data = oid("1.2.840.113549.1.7.1")
const emptySet = element(tags.set)

/** @param certificateDers in the order in which the receiver should see them: the leaf first */
export const certsOnly = (certificateDers: readonly Buffer[]): Buffer =>
  sequence(
    signedData,
    explicit(
      0,
      sequence(
        integer(1),
        emptySet,
        sequence(data),
        // A SET in DER is sorted; here the order tells which certificate is meant, and every client reads it so.
        element(contextTag(0, true), ...certificateDers),
        emptySet,
      ),
    ),
  )
