//! Links, addresses, routes and network namespaces over blocking netlink.
