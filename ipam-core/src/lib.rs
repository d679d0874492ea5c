//! Which address may this attachment have, and why not the others: pools, affinity and assignment, without I/O.
