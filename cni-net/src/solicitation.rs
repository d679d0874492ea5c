//! Frames that ask who has an address, and what answers say: ARP (RFC 826, RFC 5227) and neighbour
//! discovery (RFC 4861).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscRepr,
};

use crate::mac::MacAddr;

/// What every neighbour discovery packet has, so that none comes through a router (RFC 4861,
/// section 7.1).
const HOP_LIMIT: u8 = 255;

/// Who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// The link-layer address that it was claimed for.
    pub mac: MacAddr,
}

/// The frame in which `sender`, with `mac`, asks who has `target`. Without a sender it is a probe,
/// which no cache learns from (RFC 5227, section 2.1.1; RFC 4862, section 5.4.2). A sender of the
/// other family is none.
pub(crate) fn question(target: IpAddr, mac: MacAddr, sender: Option<IpAddr>) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => {
            let sender = match sender {
                Some(IpAddr::V4(sender)) => sender,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            arp_request(target, mac, sender)
        }
        IpAddr::V6(target) => {
            let sender = match sender {
                Some(IpAddr::V6(sender)) => sender,
                _ => Ipv6Addr::UNSPECIFIED,
            };
            neighbour_solicitation(target, mac, sender)
        }
    }
}

fn arp_request(target: Ipv4Addr, mac: MacAddr, sender: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(mac.0),
        source_protocol_addr: sender,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    };
    let (mut frame, header) =
        ethernet(mac, EthernetAddress::BROADCAST, EthernetProtocol::Arp, arp.buffer_len());
    arp.emit(&mut ArpPacket::new_unchecked(&mut frame[header..]));
    frame
}

fn neighbour_solicitation(target: Ipv6Addr, mac: MacAddr, sender: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group =
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    // No option with the sender's address where the sender has none (RFC 4861, section 4.3).
    let lladdr = (!sender.is_unspecified()).then(|| EthernetAddress(mac.0).into());
    let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: target, lladdr });
    let ip = Ipv6Repr {
        src_addr: sender,
        dst_addr: group,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let to = EthernetAddress([0x33, 0x33, 0xff, a, b, c]);
    let length = ip.buffer_len() + icmp.buffer_len();
    let (mut frame, header) = ethernet(mac, to, EthernetProtocol::Ipv6, length);
    let mut packet = Ipv6Packet::new_unchecked(&mut frame[header..]);
    ip.emit(&mut packet);
    let mut payload = Icmpv6Packet::new_unchecked(packet.payload_mut());
    icmp.emit(&sender, &group, &mut payload, &ChecksumCapabilities::default());
    frame
}

/// A frame with room for `length` bytes, and where they begin.
fn ethernet(
    from: MacAddr,
    to: EthernetAddress,
    protocol: EthernetProtocol,
    length: usize,
) -> (Vec<u8>, usize) {
    let ethernet =
        EthernetRepr { src_addr: EthernetAddress(from.0), dst_addr: to, ethertype: protocol };
    let mut frame = vec![0; ethernet.buffer_len() + length];
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
    (frame, ethernet.buffer_len())
}

/// The claim that a frame makes: by an ARP packet of any kind, as RFC 5227 has it, or a neighbour
/// advertisement. `None` for every other frame, and for a broken one.
pub(crate) fn claim(frame: &[u8]) -> Option<Claim> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpPacket::new_checked(ethernet.payload()).ok()?;
            let ArpRepr::EthernetIpv4 { source_hardware_addr, source_protocol_addr, .. } =
                ArpRepr::parse(&arp).ok()?
            else {
                return None;
            };
            let mac = MacAddr(source_hardware_addr.0);
            (!source_protocol_addr.is_unspecified())
                .then_some(Claim { address: source_protocol_addr.into(), mac })
        }
        EthernetProtocol::Ipv6 => advertisement(&ethernet),
        _ => None,
    }
}

fn advertisement(ethernet: &EthernetFrame<&[u8]>) -> Option<Claim> {
    let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
    if ip.next_header() != IpProtocol::Icmpv6 || ip.hop_limit() != HOP_LIMIT {
        return None;
    }
    let icmp = Icmpv6Packet::new_checked(ip.payload()).ok()?;
    let checksums = ChecksumCapabilities::default();
    let parsed = Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &checksums).ok()?;
    let Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { target_addr, lladdr, .. }) = parsed else {
        return None;
    };
    // Without the option the answer is from where the frame is (RFC 4861, section 4.4).
    let stated = lladdr.and_then(|stated| stated.as_bytes().first_chunk::<6>().copied());
    let mac = stated.unwrap_or(ethernet.src_addr().0);
    Some(Claim { address: target_addr.into(), mac: MacAddr(mac) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[test]
    fn an_arp_probe_byte_for_byte() {
        let target = "10.0.3.7".parse().unwrap();
        let probe = question(target, MAC, None);
        assert_eq!(
            hex(&probe),
            "ffffffffffff0200000000010806\
             0001080006040001020000000001000000000000000000000a000307"
        );
        let asked = question(target, MAC, Some("10.0.3.1".parse().unwrap()));
        assert_eq!(hex(&asked[28..32]), "0a000301");
        assert_eq!(claim(&probe), None, "a probe claims nothing");
        let own = Claim { address: "10.0.3.1".parse().unwrap(), mac: MAC };
        assert_eq!(claim(&asked), Some(own), "a request claims its sender's address");
    }

    #[test]
    fn a_neighbour_solicitation_byte_for_byte() {
        let target = "fd00::1:2345".parse().unwrap();
        let probe = question(target, MAC, None);
        assert_eq!(
            hex(&probe),
            "3333ff012345020000000001".to_owned()
                + "86dd6000000000183aff"
                + "00000000000000000000000000000000ff0200000000000000000001ff012345"
                + "8700371b00000000fd000000000000000000000000012345"
        );
        let asked = question(target, MAC, Some("fe80::1".parse().unwrap()));
        assert!(hex(&asked).ends_with("0101020000000001"), "with the sender's link-layer address");
    }

    #[test]
    fn an_advertisement_is_a_claim_with_its_option_and_without() {
        let address: Ipv6Addr = "fd00::7".parse().unwrap();
        for (lladdr, expected) in [(Some(EthernetAddress(OTHER.0).into()), OTHER), (None, MAC)] {
            let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
                flags: smoltcp::wire::NdiscNeighborFlags::SOLICITED,
                target_addr: address,
                lladdr,
            });
            let ip = Ipv6Repr {
                src_addr: address,
                dst_addr: "ff02::1".parse().unwrap(),
                next_header: IpProtocol::Icmpv6,
                payload_len: icmp.buffer_len(),
                hop_limit: HOP_LIMIT,
            };
            let length = ip.buffer_len() + icmp.buffer_len();
            let (mut frame, header) =
                ethernet(MAC, EthernetAddress::BROADCAST, EthernetProtocol::Ipv6, length);
            let mut packet = Ipv6Packet::new_unchecked(&mut frame[header..]);
            ip.emit(&mut packet);
            let mut payload = Icmpv6Packet::new_unchecked(packet.payload_mut());
            icmp.emit(&ip.src_addr, &ip.dst_addr, &mut payload, &ChecksumCapabilities::default());
            assert_eq!(claim(&frame), Some(Claim { address: address.into(), mac: expected }));
            for length in 0..frame.len() {
                assert_eq!(claim(&frame[..length]), None, "cut at {length}");
            }
            frame[header + 7] = 64;
            assert_eq!(claim(&frame), None, "it came through a router");
        }
    }
}
