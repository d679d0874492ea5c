//! Older formats, and newer ones, as far as they can be served.

use ipam_core::Attachment;
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use crate::fault::{Fault, Outcome};
use crate::register::Register;
use crate::rows;
use crate::schema::{
    ATTACHMENTS_1, DEPARTED, FORMAT, HOLDINGS, META, META_FORMAT, attachment_key, attachment_of,
};

/// The format of a file; [`Fault::Foreign`] if it is not one of ours.
pub(crate) fn format_of(
    meta: Result<impl ReadableTable<&'static str, u64>, redb::TableError>,
) -> Outcome<u64> {
    let meta = match meta {
        // A database of somebody else's: ours has had the table since it was created.
        Err(redb::TableError::TableDoesNotExist(_)) => return Err(Fault::Foreign),
        other => other?,
    };
    rows::number(&meta, META_FORMAT)?.ok_or(Fault::Foreign)
}

/// Brings a file of an older format to this one, inside the transaction that needs it.
pub(crate) fn migrate(transaction: &WriteTransaction) -> Outcome<()> {
    match format_of(transaction.open_table(META))? {
        FORMAT => Ok(()),
        // Format 1 had pools and leases as they are now, and one index in another shape.
        1 => {
            transaction.delete_table(ATTACHMENTS_1)?;
            let mut register = Register::open(transaction)?;
            register.reindex()?;
            register.meta.insert(META_FORMAT, FORMAT)?;
            Ok(())
        }
        0 => Err(Fault::Foreign),
        found => Err(Fault::Newer { found }),
    }
}

/// Writes into a file of a newer format that an attachment is gone; `false` if it holds nothing.
pub(crate) fn depart(
    transaction: &WriteTransaction,
    attachment: &Attachment,
    unix_seconds: u64,
) -> Outcome<bool> {
    let holdings = transaction.open_table(HOLDINGS)?;
    let key = attachment_key(attachment);
    if crate::register::addresses(&holdings, &key)?.is_empty() {
        return Ok(false);
    }
    transaction.open_table(DEPARTED)?.insert(key.as_slice(), unix_seconds)?;
    Ok(true)
}

/// The attachments that programs of older formats have released, taken off the list.
pub(crate) fn take_departed(transaction: &WriteTransaction) -> Outcome<Vec<Attachment>> {
    let mut departed = transaction.open_table(DEPARTED)?;
    let mut attachments = Vec::new();
    if departed.is_empty()? {
        return Ok(attachments);
    }
    for row in departed.iter()? {
        attachments.extend(attachment_of(row?.0.value()));
    }
    departed.retain(|_, _| false)?;
    Ok(attachments)
}
