//! What the kernel sends: the messages of a datagram, and the errnos and texts in them.

use netlink_packet_core::{
    DoneBuffer, ErrorBuffer, NLM_F_ACK_TLVS, NLM_F_CAPPED, NetlinkBuffer, NlasIterator,
    parse_string,
};
use rustix::io::Errno;

/// A message of the kernel's as it lies in a datagram.
pub(crate) struct Frame<'a> {
    pub(crate) sequence: u32,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) payload: &'a [u8],
    /// With its header.
    pub(crate) whole: &'a [u8],
}

/// The messages of a datagram. What cannot be read is the last.
pub(crate) fn frames(datagram: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, String>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = match NetlinkBuffer::new_checked(rest) {
            Ok(frame) => frame,
            Err(error) => {
                rest = &[];
                return Some(Err(error.to_string()));
            }
        };
        let length = frame.length() as usize;
        let whole = &rest[..length];
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(Ok(Frame {
            sequence: frame.sequence_number(),
            kind: frame.message_type(),
            flags: frame.flags(),
            payload: frame.payload(),
            whole,
        }))
    })
}

/// Errno (0: an acknowledgement) and the kernel's text of an `NLMSG_ERROR`.
pub(crate) fn error_code(payload: &[u8], flags: u16) -> (i32, Option<String>) {
    let Ok(error) = ErrorBuffer::new_checked(payload) else {
        return (Errno::PROTO.raw_os_error(), None);
    };
    let code = error.code().map_or(0, |code| code.get().saturating_neg());
    // After the code comes the refused request: its header alone when capped, else all of it.
    let request = error.payload();
    let echoed = if flags & NLM_F_CAPPED != 0 {
        HEADER_BYTES
    } else {
        NetlinkBuffer::new_checked(request)
            .map_or(request.len(), |frame| (frame.length() as usize).next_multiple_of(ALIGNMENT))
    };
    (code, extended_text(request.get(echoed..).unwrap_or_default(), flags))
}

/// The same of an `NLMSG_DONE`, with which a dump ends well or badly.
pub(crate) fn done_code(payload: &[u8], flags: u16) -> (i32, Option<String>) {
    let Ok(done) = DoneBuffer::new_checked(payload) else {
        return (0, None);
    };
    (done.code().saturating_neg().max(0), extended_text(done.extended_ack(), flags))
}

fn extended_text(attributes: &[u8], flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .and_then(|attribute| parse_string(attribute.value()).ok())
}

/// `enum nlmsgerr_attrs` in `include/uapi/linux/netlink.h`.
const NLMSGERR_ATTR_MSG: u16 = 1;
const HEADER_BYTES: usize = 16;
/// `NLMSG_ALIGNTO`.
pub(crate) const ALIGNMENT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, text: &str) -> Vec<u8> {
        let length = u16::try_from(4 + text.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(text.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn request(length: u32) -> Vec<u8> {
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.resize(length as usize, 0);
        bytes
    }

    #[test]
    fn the_text_follows_a_capped_and_an_echoed_request() {
        let text = attribute(NLMSGERR_ATTR_MSG, "Unknown device type\0");
        let code = (-95i32).to_ne_bytes().to_vec();
        let expected = (95, Some("Unknown device type".to_owned()));
        let capped = [code.clone(), request(16), text.clone()].concat();
        assert_eq!(error_code(&capped, NLM_F_ACK_TLVS | NLM_F_CAPPED), expected);
        let echoed = [code.clone(), request(60), text.clone()].concat();
        assert_eq!(error_code(&echoed, NLM_F_ACK_TLVS), expected);
        assert_eq!(error_code(&capped, NLM_F_CAPPED), (95, None));
        assert_eq!(done_code(&[code, text].concat(), NLM_F_ACK_TLVS), expected);
    }

    #[test]
    fn short_and_odd_payloads_do_not_panic() {
        assert_eq!(error_code(&[1, 2], 0), (Errno::PROTO.raw_os_error(), None));
        assert_eq!(error_code(&[0; 4], NLM_F_ACK_TLVS), (0, None));
        assert_eq!(done_code(&[], NLM_F_ACK_TLVS), (0, None));
        let min = i32::MIN.to_ne_bytes();
        assert_eq!(error_code(&min, NLM_F_ACK_TLVS | NLM_F_CAPPED), (i32::MAX, None));
        let odd = [min.to_vec(), request(16), vec![255, 255, 1, 0, 7]].concat();
        assert_eq!(error_code(&odd, NLM_F_ACK_TLVS | NLM_F_CAPPED), (i32::MAX, None));
    }
}
