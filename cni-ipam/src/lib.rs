//! The allocator as CNI: a configuration in, addresses and routes out.
