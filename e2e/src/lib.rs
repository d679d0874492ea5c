//! The lab: a cloud VPC, its nodes and pods in network namespaces, and the tests that run real plugins in it.
