//! The images that a power cut can leave: what is synced is there, the rest may be.

use std::collections::HashSet;
use std::sync::Arc;

use super::disk::{Contents, Disk};
use super::tape::{Event, Recording};

/// Which of the writes since the last sync reached the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// None: the machine did no writeback.
    Nothing,
    /// All: also what a killed process leaves, as the kernel goes on.
    Everything,
    /// The newest alone: a header that overtook the pages it names.
    Newest,
    /// Each as a whole or not at all, by chance.
    Subset { seed: u64 },
    /// Each torn into units of this many bytes. Of each unit some version persists, from what the
    /// last sync left to the newest, independently of its neighbours: one that was written twice
    /// may have its older bytes while another, written later, has its new ones.
    Torn { seed: u64, unit_bytes: usize },
}

/// What a disk's sector is: the unit that is written whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;

impl Policy {
    /// One of each, the random ones twice.
    pub(crate) const DEFAULT: [Self; 7] = [
        Self::Nothing,
        Self::Everything,
        Self::Newest,
        Self::Subset { seed: 1 },
        Self::Subset { seed: 2 },
        Self::Torn { seed: 3, unit_bytes: SECTOR_BYTES },
        Self::Torn { seed: 4, unit_bytes: SECTOR_BYTES },
    ];

    fn seed(self) -> Option<u64> {
        match self {
            Self::Nothing | Self::Everything | Self::Newest => None,
            Self::Subset { seed } | Self::Torn { seed, .. } => Some(seed),
        }
    }
}

/// Where the power goes: the state after the first `cut` events of a recording.
///
/// Goes forward event by event, so that a sweep keeps one image and not one per cut.
pub(crate) struct Cut<'tape> {
    at: usize,
    settled: Arc<Vec<u8>>,
    pending: Vec<&'tape Event>,
    /// Every length that the file has had since the last sync, the synced one first.
    lengths_bytes: Vec<usize>,
    pub(crate) acknowledged: Vec<usize>,
    /// Begun and not acknowledged.
    pub(crate) unanswered: Vec<usize>,
    /// Whether the last event changed what must be found where nothing unsynced persisted.
    firm_changed: bool,
}

impl<'tape> Cut<'tape> {
    /// Before the first event.
    pub(crate) fn first(recording: &'tape Recording) -> Self {
        Self {
            at: 0,
            settled: recording.initial.clone(),
            pending: Vec::new(),
            lengths_bytes: vec![recording.initial.len()],
            acknowledged: Vec::new(),
            unanswered: Vec::new(),
            firm_changed: true,
        }
    }

    /// After the first `cut` events.
    pub(crate) fn at(recording: &'tape Recording, cut: usize) -> Self {
        let mut this = Self::first(recording);
        recording.events[..cut].iter().for_each(|event| this.advance(event));
        this
    }

    /// Moves past the next event.
    pub(crate) fn advance(&mut self, event: &'tape Event) {
        self.at += 1;
        self.firm_changed = !matches!(event, Event::Write { .. } | Event::Begun(_));
        match event {
            Event::Write { .. } => self.pending.push(event),
            Event::SetLen(len) => {
                self.pending.push(event);
                self.lengths_bytes.push(bytes(*len));
            }
            Event::Sync => self.settle(),
            Event::Begun(operation) => self.unanswered.push(*operation),
            Event::Acknowledged(operation) => {
                self.unanswered.retain(|begun| begun != operation);
                self.acknowledged.push(*operation);
            }
        }
    }

    fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        // Copies only if a check has kept an image from before.
        let settled = Arc::make_mut(&mut self.settled);
        for event in self.pending.drain(..) {
            match event {
                Event::Write { offset, bytes: data } => {
                    let start = bytes(*offset);
                    settled[start..start + data.len()].copy_from_slice(data);
                }
                Event::SetLen(len) => settled.resize(bytes(*len), 0),
                Event::Sync | Event::Begun(_) | Event::Acknowledged(_) => {}
            }
        }
        self.lengths_bytes = vec![settled.len()];
    }

    /// Which of [`Self::image`]'s lengths are to be tried under this policy here: all of them, one
    /// by chance, or none where another policy or the cut before gives the same image.
    pub(crate) fn lengths(&self, policy: Policy) -> Vec<usize> {
        let repeated = match policy {
            Policy::Nothing => !self.firm_changed,
            _ => self.pending.is_empty(),
        };
        match policy.seed() {
            _ if repeated => Vec::new(),
            None => (0..self.lengths_bytes.len()).collect(),
            Some(seed) => vec![Dice::new(seed, self.at).below(self.lengths_bytes.len())],
        }
    }

    /// The image left here under a policy, if of the file's lengths since the last sync the one
    /// numbered `length` persisted, 0 being the synced one. The same arguments, the same image.
    pub(crate) fn image(&self, policy: Policy, length: usize) -> Disk {
        let mut contents = Contents::over(self.settled.clone());
        let mut dice = Dice::new(policy.seed().unwrap_or_default(), self.at);
        // Few, half or most of the writes are lost; all three find faults of their own.
        let odds_of_loss = [1, 4, 7][dice.below(3)];
        let newest = self.pending.iter().rposition(|event| matches!(event, Event::Write { .. }));
        let (mut lengths, mut stale_units) = (0, HashSet::new());
        for (number, event) in self.pending.iter().enumerate() {
            match event {
                Event::Write { offset, bytes: data } => {
                    let start = bytes(*offset);
                    let kept = match policy {
                        Policy::Nothing => false,
                        Policy::Everything => true,
                        Policy::Newest => newest == Some(number),
                        Policy::Subset { .. } => dice.below(8) >= odds_of_loss,
                        Policy::Torn { unit_bytes, .. } => {
                            for (at, piece) in units(start, data, unit_bytes) {
                                let unit = at / unit_bytes;
                                // A unit is written back whole as it was at some moment, and so
                                // lacks everything later.
                                if stale_units.contains(&unit) || dice.below(8) < odds_of_loss {
                                    stale_units.insert(unit);
                                } else {
                                    contents.write(at, piece);
                                }
                            }
                            false
                        }
                    };
                    if kept {
                        contents.write(start, data);
                    }
                }
                Event::SetLen(len) => {
                    lengths += 1;
                    // Where the file was cut and grew again: zeros, or what was there before.
                    if lengths <= length && (policy.seed().is_none() || dice.below(2) == 0) {
                        contents.clear_from(bytes(*len));
                    }
                }
                Event::Sync | Event::Begun(_) | Event::Acknowledged(_) => {}
            }
        }
        contents.reveal(self.lengths_bytes[length]);
        Disk::new(contents)
    }
}

/// The pieces of a write that fall into one unit each.
fn units(
    start: usize,
    data: &[u8],
    unit_bytes: usize,
) -> impl Iterator<Item = (usize, &[u8])> + use<'_> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = start + done;
        let end = data.len().min(done + unit_bytes - at % unit_bytes);
        let piece = &data[done..end];
        done = end;
        (!piece.is_empty()).then_some((at, piece))
    })
}

fn bytes(offset: u64) -> usize {
    usize::try_from(offset).expect("the tape's device held it in memory")
}

/// `SplitMix64` (Steele, Lea, Flood 2014): the same numbers on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    /// The numbers of this seed at this place; those of the next place have nothing to do with
    /// them.
    pub(crate) fn new(seed: u64, place: usize) -> Self {
        let mut dice = Self(seed ^ (place as u64).wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.next();
        dice
    }

    /// A number from 0 up to `limit`, without it.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use redb::StorageBackend as _;

    use super::super::tape::Tape;
    use super::{Cut, Disk, Policy, SECTOR_BYTES};

    /// Two sectors, each written as 1 and as 2 since the last sync, which left 0.
    fn two_sectors_twice() -> Tape {
        let tape = Tape::new(vec![9; 1024]);
        let device = tape.device();
        device.write(0, &[0; 1024]).unwrap();
        device.sync_data().unwrap();
        device.write(0, &[1; 1024]).unwrap();
        device.write(0, &[2; 1024]).unwrap();
        tape
    }

    /// The two sectors, each as the one value that all its bytes have.
    fn sectors(disk: &Disk) -> (u8, u8) {
        let bytes = disk.bytes();
        let (first, second) = (bytes[0], bytes[512]);
        assert_eq!(bytes, [[first; 512], [second; 512]].concat());
        (first, second)
    }

    #[test]
    fn torn_sectors_mix_their_versions_and_the_same_seed_gives_the_same_image() {
        let recording = two_sectors_twice().recording();
        let cut = Cut::at(&recording, recording.events.len());
        let images = |policy: fn(u64) -> Policy| -> BTreeSet<(u8, u8)> {
            let image = |seed| sectors(&cut.image(policy(seed), 0));
            (0..200)
                .map(|seed| (image(seed), image(seed)))
                .map(|(a, b)| (a == b).then_some(a))
                .collect::<Option<_>>()
                .unwrap()
        };
        let torn = images(|seed| Policy::Torn { seed, unit_bytes: SECTOR_BYTES });
        assert_eq!(torn, (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).collect());
        let whole = images(|seed| Policy::Subset { seed });
        assert_eq!(whole, [(0, 0), (1, 1), (2, 2)].into());
        assert_eq!(images(|_| Policy::Nothing), [(0, 0)].into());
        assert_eq!(images(|_| Policy::Everything), [(2, 2)].into());
        // Before the second sync, its write may be lost or not; the first event leaves no choice.
        let cut = Cut::at(&recording, 0);
        assert_eq!(Policy::DEFAULT.map(|policy| cut.lengths(policy).len()), [1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_sector_lacks_all_that_was_written_after_its_version() {
        let tape = Tape::new(vec![0; 512]);
        let device = tape.device();
        device.write(0, &[1; 256]).unwrap();
        device.write(256, &[2; 256]).unwrap();
        let recording = tape.recording();
        let cut = Cut::at(&recording, 2);
        let torn = |seed| cut.image(Policy::Torn { seed, unit_bytes: SECTOR_BYTES }, 0).bytes();
        let seen: BTreeSet<_> = (0..200).map(torn).map(|bytes| (bytes[0], bytes[511])).collect();
        assert_eq!(seen, [(0, 0), (1, 0), (1, 2)].into());
    }

    #[test]
    fn a_file_has_any_length_since_the_last_sync_and_grows_by_zeros_or_what_was_there() {
        let tape = Tape::new(vec![7; 6000]);
        let device = tape.device();
        device.set_len(100).unwrap();
        device.set_len(9000).unwrap();
        device.write(8999, &[8]).unwrap();
        let recording = tape.recording();
        let cut = Cut::at(&recording, 3);
        let cut = &cut;
        let lengths =
            |policy| cut.lengths(policy).into_iter().map(move |n| cut.image(policy, n).bytes());
        let everything: Vec<_> = lengths(Policy::Everything).collect();
        assert_eq!(everything.iter().map(Vec::len).collect::<Vec<_>>(), [6000, 100, 9000]);
        assert_eq!(everything[2], tape.contents());
        assert_eq!(everything[2][99..101], [7, 0]);
        assert_eq!(everything[0], [7; 6000]);
        let grown = |seed| lengths(Policy::Subset { seed }).find(|bytes| bytes.len() == 9000);
        let seen: BTreeSet<(u8, u8)> =
            (0..200).filter_map(grown).map(|b| (b[200], b[8999])).collect();
        assert_eq!(seen, [(0, 0), (0, 8), (7, 0), (7, 8)].into());
        // Once synced there is no choice left.
        device.sync_data().unwrap();
        let recording = tape.recording();
        let cut = Cut::at(&recording, 4);
        assert_eq!(cut.lengths(Policy::Nothing), [0]);
        assert_eq!(cut.image(Policy::Nothing, 0).bytes(), tape.contents());
    }
}
