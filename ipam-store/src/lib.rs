//! Pools and leases in one crash-safe file, one durable transaction per decision.
