//! The message that tells a new process its name, arguments and capabilities.

use abi::ClockPage;
use alloc::vec::Vec;
use capnp::message::{Builder, HeapAllocator};
use schema::supervisor_capnp::start_info;

/// Words of a message besides its texts: the pointer to the root and the root itself, with room.
const FIXED_WORDS: usize = 24;

/// Words of one argument or grant besides its texts: its struct and its share of the list.
const ITEM_WORDS: usize = 3;

/// What goes into the message.
pub(crate) struct StartInfo<'a> {
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a [(&'a str, &'a str)],
    /// Names and handles.
    pub(crate) grants: &'a [(&'a str, u32)],
    pub(crate) own_process: u32,
    pub(crate) clock: ClockPage,
}

impl StartInfo<'_> {
    /// Most bytes that the message can have.
    pub(crate) fn maximum_bytes(&self) -> usize {
        let argument = |(name, value): &(&str, &str)| ITEM_WORDS + text_words(name) + text_words(value);
        let grant = |(name, _): &(&str, u32)| ITEM_WORDS + text_words(name);
        let items =
            self.arguments.iter().map(argument).sum::<usize>() + self.grants.iter().map(grant).sum::<usize>();
        (FIXED_WORDS + text_words(self.name) + items) * size_of::<u64>()
    }

    /// The message as one segment. `image_end` is the first address that the process may use for itself.
    ///
    /// # Errors
    /// When a list is longer than Cap'n Proto can say.
    pub(crate) fn encode(&self, image_end: u64) -> capnp::Result<Vec<u8>> {
        let words = u32::try_from(self.maximum_bytes() / size_of::<u64>()).unwrap_or(u32::MAX);
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(words));
        let mut info = message.init_root::<start_info::Builder<'_>>();
        info.set_process(self.name);
        info.set_own_process(self.own_process);
        info.set_image_end(image_end);
        let mut clock = info.reborrow().init_clock();
        clock.set_multiplier(self.clock.multiplier);
        // The kernel promises at most 63.
        clock.set_shift(u8::try_from(self.clock.shift).unwrap_or(63));
        clock.set_base(self.clock.base);
        let mut arguments = info.reborrow().init_arguments(length(self.arguments)?);
        for (index, (name, value)) in (0..).zip(self.arguments) {
            let mut argument = arguments.reborrow().get(index);
            argument.set_name(name);
            argument.set_value(value);
        }
        let mut grants = info.init_grants(length(self.grants)?);
        for (index, (name, handle)) in (0..).zip(self.grants) {
            let mut grant = grants.reborrow().get(index);
            grant.set_name(name);
            grant.set_handle(*handle);
        }
        match &*message.get_segments_for_output() {
            [segment] => Ok(segment.to_vec()),
            _ => Err(capnp::Error::failed("the start message does not fit one segment".into())),
        }
    }
}

fn length<T>(list: &[T]) -> capnp::Result<u32> {
    u32::try_from(list.len())
        .map_err(|_| capnp::Error::failed("a list of the start message is too long".into()))
}

/// Words of a text with its closing zero byte.
fn text_words(text: &str) -> usize {
    text.len() / size_of::<u64>() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::{Reader, ReaderOptions, SegmentArray};

    const CLOCK: ClockPage = ClockPage { multiplier: 7, shift: 3, base: 9 };

    #[test]
    fn what_goes_in_comes_out() {
        let arguments = [("address", "10.0.2.15/24"), ("gateway", "")];
        let grants = [("log", 0x1_0002), ("device", 0)];
        let info = StartInfo {
            name: "netstack",
            arguments: &arguments,
            grants: &grants,
            own_process: 1,
            clock: CLOCK,
        };
        let bytes = info.encode(0x31_6000).unwrap();
        let segments = [&bytes[..]];
        let reader = Reader::new(SegmentArray::new(&segments), ReaderOptions::new());
        let read = reader.get_root::<start_info::Reader<'_>>().unwrap();
        assert_eq!(read.get_process().unwrap(), "netstack");
        assert_eq!((read.get_own_process(), read.get_image_end()), (1, 0x31_6000));
        let clock = read.get_clock().unwrap();
        assert_eq!((clock.get_multiplier(), clock.get_shift(), clock.get_base()), (7, 3, 9));
        let read_arguments: Vec<_> = read.get_arguments().unwrap().iter().collect();
        assert_eq!(read_arguments[0].get_value().unwrap(), "10.0.2.15/24");
        assert_eq!(read_arguments[1].get_name().unwrap(), "gateway");
        let read_grants: Vec<_> = read.get_grants().unwrap().iter().map(|grant| grant.get_handle()).collect();
        assert_eq!(read_grants, [0x1_0002, 0]);
    }

    #[test]
    fn the_bound_holds_for_every_length_of_text() {
        let text = "x".repeat(255);
        for length in 0..=255 {
            let value = &text[..length];
            let arguments = vec![(value, value); 32];
            let grants = vec![(value, 1); 34];
            let info = StartInfo {
                name: value,
                arguments: &arguments,
                grants: &grants,
                own_process: 1,
                clock: CLOCK,
            };
            assert!(info.encode(0).unwrap().len() <= info.maximum_bytes());
        }
    }
}
