//! Finds the kernel's requests in its loaded image [LIMINE, features].

use core::fmt;

use arrayvec::ArrayVec;

/// Requests of one kernel that can be answered.
const MAXIMUM_REQUESTS: usize = 16;

const START_MARKER: [u64; 4] =
    [0xf6b8_f4b3_9de7_d1ae, 0xfab9_1a69_40fc_b9cf, 0x785c_6ed0_15d3_e316, 0x181e_920a_7852_b9d9];
const END_MARKER: [u64; 2] = [0xadc0_e053_1bb1_0d03, 0x9572_709f_3176_4c62];
const BASE_REVISION: [u64; 2] = [0xf956_2b2d_5c95_a6c8, 0x6a7b_3849_4453_6bdc];
const COMMON: [u64; 2] = [0xc7b1_dd30_df4c_8b88, 0x0a82_e883_a194_f07b];

/// Word of a request that holds the address of its answer: two of magic, two of name, one revision.
const RESPONSE_WORD: usize = 5;

/// What a kernel can ask for and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Name and version of the boot loader.
    BootloaderInfo,
    /// The command line.
    CommandLine,
    /// A stack of at least so many bytes.
    StackSize,
    /// Where physical memory is mapped.
    Hhdm,
    /// The memory map.
    MemoryMap,
    /// The kernel's own file.
    ExecutableFile,
    /// The other modules.
    Modules,
    /// The ACPI root pointer.
    Rsdp,
    /// Where the kernel was put.
    ExecutableAddress,
}

/// The name of each feature: the two words behind the common magic.
const NAMES: [([u64; 2], Feature); 9] = [
    ([0xf550_38d8_e2a1_202f, 0x2794_26fc_f5f5_9740], Feature::BootloaderInfo),
    ([0x4b16_1536_e598_651e, 0xb390_ad4a_2f1f_303a], Feature::CommandLine),
    ([0x224e_f046_0a8e_8926, 0xe1cb_0fc2_5f46_ea3d], Feature::StackSize),
    ([0x48dc_f1cb_8ad2_b852, 0x6398_4e95_9a98_244b], Feature::Hhdm),
    ([0x67cf_3d9d_378a_806f, 0xe304_acdf_c50c_3c62], Feature::MemoryMap),
    ([0xad97_e90e_83f1_ed67, 0x31eb_5d1c_5ff2_3b69], Feature::ExecutableFile),
    ([0x3e7e_2797_02be_32af, 0xca1c_4f3b_d128_0cee], Feature::Modules),
    ([0xc5e7_7b6b_397e_7b43, 0x2763_7845_accd_cf3c], Feature::Rsdp),
    ([0x71ba_7686_3cc5_5f63, 0xb264_4a48_c516_a487], Feature::ExecutableAddress),
];

/// Base revisions that the loader knows: from the last that every Limine 8 offers to the first whose direct map shows the
/// ACPI tables. Of what differs between them, only this concerns the loader: its direct map shows all memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseRevision {
    /// The ACPI root pointer is given by its address in the direct map.
    Two,
    /// It is given by its physical address.
    Three,
    /// It is given by its address in the direct map.
    Four,
}

/// A request in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub feature: Feature,
    /// Word of the image at which it starts.
    word: usize,
}

impl Request {
    /// The number behind the answer's place: for [`Feature::StackSize`], the bytes that are wanted.
    pub fn argument(&self, image: &[u64]) -> Option<u64> {
        image.get(self.word.checked_add(RESPONSE_WORD + 1)?).copied()
    }

    /// Tells the kernel where its answer is. `None` if the request leaves the image.
    pub fn answer(&self, image: &mut [u64], address: u64) -> Option<()> {
        *image.get_mut(self.word.checked_add(RESPONSE_WORD)?)? = address;
        Some(())
    }
}

/// All that a kernel asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Which form of the protocol it expects.
    pub revision: BaseRevision,
    /// Requests that can be answered; others stay unanswered, as the protocol allows.
    pub list: ArrayVec<Request, MAXIMUM_REQUESTS>,
}

/// Why the loader cannot serve a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It has no base revision tag, so it does not speak the protocol.
    NoBaseRevision,
    /// It wants a base revision that the loader does not know.
    BaseRevision(u64),
    /// It has more requests than the loader can hold.
    TooMany,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBaseRevision => out.write_str("the kernel has no Limine base revision tag"),
            Self::BaseRevision(number) => {
                write!(out, "the kernel wants Limine base revision {number}; this loader knows 2 to 4")
            }
            Self::TooMany => out.write_str("the kernel has too many requests"),
        }
    }
}

impl Requests {
    /// Searches a kernel's loaded image, in words of 8 bytes from its first page, and marks its base revision as served.
    pub fn find(image: &mut [u64]) -> Result<Self, Error> {
        let mut found = Found::default();
        for word in 0..image.len() {
            let rest = image.get(word..).unwrap_or_default();
            // One comparison for nearly every word: all magics differ in their first.
            match rest.first() {
                Some(&first) if first == START_MARKER[0] && rest.starts_with(&START_MARKER) => {
                    found = Found::default()
                }
                Some(&first) if first == END_MARKER[0] && rest.starts_with(&END_MARKER) => break,
                Some(&first) if first == BASE_REVISION[0] && rest.starts_with(&BASE_REVISION) => {
                    found.tag = rest.get(2).map(|number| (word, *number));
                }
                Some(&first) if first == COMMON[0] && rest.starts_with(&COMMON) => found.take(word, rest)?,
                _ => {}
            }
        }
        let (word, number) = found.tag.ok_or(Error::NoBaseRevision)?;
        let revision = match number {
            2 => BaseRevision::Two,
            3 => BaseRevision::Three,
            4 => BaseRevision::Four,
            _ => return Err(Error::BaseRevision(number)),
        };
        if let Some([_, used, wanted, ..]) = image.get_mut(word..) {
            (*used, *wanted) = (number, 0);
        }
        Ok(Self { revision, list: found.list })
    }
}

#[derive(Default)]
struct Found {
    /// Where the base revision tag is and what it wants.
    tag: Option<(usize, u64)>,
    list: ArrayVec<Request, MAXIMUM_REQUESTS>,
}

impl Found {
    fn take(&mut self, word: usize, rest: &[u64]) -> Result<(), Error> {
        let known = NAMES.iter().find(|(name, _)| rest.get(2..4) == Some(&name[..]));
        let Some((_, feature)) = known else { return Ok(()) };
        self.list.try_push(Request { feature: *feature, word }).map_err(|_| Error::TooMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(feature: Feature) -> Vec<u64> {
        let (name, _) = NAMES.iter().find(|(_, other)| *other == feature).expect("named");
        [&COMMON[..], &name[..], &[0, 0, 77]].concat()
    }

    fn tag(number: u64) -> Vec<u64> {
        [&BASE_REVISION[..], &[number]].concat()
    }

    #[test]
    fn finds_and_answers() {
        let mut image =
            [vec![1, 2, 3], tag(3), request(Feature::Hhdm), vec![9], request(Feature::StackSize)].concat();
        let requests = Requests::find(&mut image).expect("a kernel");
        assert_eq!(requests.revision, BaseRevision::Three);
        assert_eq!(image[4..6], [3, 0], "used, and no more wanted");
        assert_eq!(
            requests.list.iter().map(|one| one.feature).collect::<Vec<_>>(),
            [Feature::Hhdm, Feature::StackSize]
        );
        assert_eq!(requests.list[1].argument(&image), Some(77));
        requests.list[0].answer(&mut image, 0x1234).expect("inside");
        assert_eq!(image[6 + 5], 0x1234);
    }

    #[test]
    fn honours_the_markers() {
        let mut image = [
            tag(3),
            request(Feature::Rsdp),
            START_MARKER.to_vec(),
            tag(4),
            request(Feature::Hhdm),
            END_MARKER.to_vec(),
            request(Feature::Modules),
        ]
        .concat();
        let requests = Requests::find(&mut image).expect("a kernel");
        assert_eq!(requests.revision, BaseRevision::Four);
        assert_eq!(requests.list.len(), 1);
    }

    #[test]
    fn refuses_other_revisions() {
        assert_eq!(Requests::find(&mut [0; 32]), Err(Error::NoBaseRevision));
        assert_eq!(Requests::find(&mut tag(6)), Err(Error::BaseRevision(6)));
        assert_eq!(Requests::find(&mut tag(1)), Err(Error::BaseRevision(1)));
        assert_eq!(Requests::find(&mut BASE_REVISION.clone()), Err(Error::NoBaseRevision));
    }

    #[test]
    fn a_request_at_the_end_of_the_image_is_not_written_behind_it() {
        let mut image = [tag(3), request(Feature::Hhdm)[..4].to_vec()].concat();
        let requests = Requests::find(&mut image).expect("a kernel");
        assert_eq!(requests.list[0].answer(&mut image, 1), None);
        assert_eq!(requests.list[0].argument(&image), None);
    }
}
