//! A file as the first format had it, made by hand.

use ipam_core::{Lease, NetnsRef, PodRef};
use redb::{Database, Durability, StorageBackend};

use super::script::{at, declared};
use super::step::{Operation, Step, attachment, stamp};
use crate::codec;
use crate::power::disk::Disk;
use crate::power::tape::Tape;
use crate::schema::{ATTACHMENTS_1, LEASES, META, META_FORMAT, POOLS, address_key, attachment_key};

/// What the file holds: the leases of 20 containers, of the first boot of a script.
pub(super) fn leases() -> Vec<Lease> {
    let lease = |family: usize, container: usize| Lease {
        address: at(family, 3 + container),
        pool: declared(60).pools[family].name().clone(),
        attachment: attachment(container),
        pod: Some(PodRef {
            namespace: "default".into(),
            name: format!("pod-{container}"),
            uid: Some(format!("uid-{container}")),
        }),
        netns: Some(NetnsRef { path: format!("/run/netns/{container}"), inode: Some(7) }),
        since: stamp(0, 900),
    };
    (0..2).flat_map(|family| (0..20).map(move |container| lease(family, container))).collect()
}

/// The first operations of a program of this format: one that is refused, since what it asks for
/// is there, then a release and an allocation.
pub(super) fn first_steps() -> Vec<Step> {
    let allocate = |container| Operation::Allocate { container, pod: 30, requested: Vec::new() };
    [allocate(3), Operation::Release { container: 7 }, allocate(30)]
        .map(|operation| Step { operation, now: stamp(0, 1000), killed: false })
        .into()
}

/// The bytes of the file; closed, or left by a kill.
pub(super) fn file(is_clean: bool) -> Vec<u8> {
    if is_clean {
        let disk = Disk::of(Vec::new());
        drop(write(disk.clone()));
        return disk.bytes();
    }
    let tape = Tape::new(Vec::new());
    let database = write(tape.device());
    tape.kill();
    drop(database);
    tape.contents()
}

fn write(storage: impl StorageBackend) -> Database {
    let database = redb::Builder::new().create_with_backend(storage).unwrap();
    let mut transaction = database.begin_write().unwrap();
    transaction.set_durability(Durability::Immediate).unwrap();
    transaction.set_two_phase_commit(true);
    {
        transaction.open_table(META).unwrap().insert(META_FORMAT, 1).unwrap();
        let mut pools = transaction.open_table(POOLS).unwrap();
        for pool in declared(60).pools {
            pools.insert(pool.name().as_str(), codec::encode_pool(&pool).as_slice()).unwrap();
        }
        let mut table = transaction.open_table(LEASES).unwrap();
        let mut attachments = transaction.open_table(ATTACHMENTS_1).unwrap();
        for lease in leases() {
            let record = codec::encode_lease(&lease);
            table.insert(address_key(lease.address), record.as_slice()).unwrap();
            // Its record named the addresses; nothing reads it any more.
            let key = attachment_key(&lease.attachment);
            attachments.insert(key.as_slice(), [0x31, 0, 0, 0, 0].as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
    database
}
