"""How to make a text of the formats that our OpenAPI document names and Schemathesis does not know."""

import schemathesis
from hypothesis import strategies as st

letters = "abcdefghijklmnopqrstuvwxyz"
label = st.text(letters, min_size=3, max_size=12)
host = st.builds("{}.{}.example".format, label, label)

schemathesis.openapi.format("name", st.builds("{} {}".format, label, st.integers(0, 10**9)))
schemathesis.openapi.format("common-name", host)
schemathesis.openapi.format("san", host)
schemathesis.openapi.format("email", st.builds("someone@{}".format, host))
schemathesis.openapi.format("endpoint", st.builds("{}:{}".format, host, st.integers(1, 65535)))
schemathesis.openapi.format("address-range", st.builds("10.{}.{}.0/24".format, st.integers(0, 255), st.integers(0, 255)))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]))
schemathesis.openapi.format("name-pattern", st.sampled_from(["^[a-z.]+$", "\\.example$"]))
schemathesis.openapi.format("spiffe-pattern", st.sampled_from(["", "spiffe://example.org/*"]))
