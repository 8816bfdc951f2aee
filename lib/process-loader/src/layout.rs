//! Where everything lies in a new process, and in the one memory object that holds what is its own.

use crate::image::{Content, Image};
use abi::{PAGE_SIZE, USER_END};

const PAGE: u64 = PAGE_SIZE as u64;

/// Pages of a first thread's stack: 64 KiB.
pub(crate) const STACK_PAGES: u32 = 16;

/// Addresses of the new process, and page numbers of its memory object: the start message, then
/// the writable segments, then the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Pages of the start message.
    pub(crate) message_pages: u32,
    /// Address of the start message.
    pub(crate) message: u64,
    /// Address of the thread's message buffer.
    pub(crate) buffer: u64,
    /// Lowest address of the stack.
    pub(crate) stack: u64,
    /// Behind the highest address of the stack.
    pub(crate) stack_top: u64,
    /// The first address that nothing uses, with a guard page below.
    pub(crate) free: u64,
    /// Pages of the start message and the writable segments: what is filled before the start.
    pub(crate) filled_pages: u32,
    /// Pages of the whole memory object.
    pub(crate) pages: u32,
}

impl Layout {
    /// The layout for an image and a start message of so many bytes; `None` when the user half has no room.
    pub(crate) fn new(image: &Image, message_bytes: usize) -> Option<Self> {
        let message_pages = u32::try_from(message_bytes.div_ceil(PAGE_SIZE)).ok()?;
        let filled_pages = u32::try_from(image.fresh_pages()).ok()?.checked_add(message_pages)?;
        let pages = filled_pages.checked_add(STACK_PAGES)?;
        let message = image.end.checked_add(PAGE)?;
        let buffer = message.checked_add(u64::from(message_pages) * PAGE)?;
        let stack = buffer.checked_add(2 * PAGE)?;
        let stack_top = stack.checked_add(u64::from(STACK_PAGES) * PAGE)?;
        let free = stack_top.checked_add(PAGE).filter(|&free| free <= USER_END)?;
        Some(Self { message_pages, message, buffer, stack, stack_top, free, filled_pages, pages })
    }

    /// The writable segments: first page in the memory object, address, pages, and content.
    pub(crate) fn fresh<'i>(
        &self,
        image: &'i Image,
    ) -> impl Iterator<Item = (u32, &'i crate::Segment, core::ops::Range<usize>, usize)> + use<'i> {
        let mut page = self.message_pages;
        image.segments.iter().filter_map(move |segment| match &segment.content {
            Content::Fresh { file, offset } => {
                let first = page;
                // The sum was checked when the layout was made.
                page += segment.pages;
                Some((first, segment, file.clone(), *offset))
            }
            Content::InPlace { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;

    fn image(end: u64, pages: &[u32]) -> Image {
        let fresh = |&pages: &u32| Segment {
            address: 0x1000,
            pages,
            content: Content::Fresh { file: 0..1, offset: 2 },
        };
        Image { entry: 0, segments: pages.iter().map(fresh).collect(), end }
    }

    #[test]
    fn guard_pages_part_image_message_stack_and_heap() {
        let layout = Layout::new(&image(0x30_0000, &[2, 3]), 4097).unwrap();
        assert_eq!(layout.message, 0x30_1000);
        assert_eq!(layout.buffer, 0x30_3000);
        assert_eq!(layout.stack, 0x30_5000);
        assert_eq!(layout.stack_top, 0x31_5000);
        assert_eq!(layout.free, 0x31_6000);
        assert_eq!((layout.message_pages, layout.filled_pages, layout.pages), (2, 7, 23));
    }

    #[test]
    fn writable_segments_follow_the_message_in_order() {
        let image = image(0x30_0000, &[2, 3]);
        let layout = Layout::new(&image, 8).unwrap();
        let firsts: Vec<u32> = layout.fresh(&image).map(|(first, ..)| first).collect();
        assert_eq!(firsts, [1, 3]);
    }

    #[test]
    fn an_image_at_the_end_of_the_user_half_leaves_no_room() {
        assert!(Layout::new(&image(USER_END, &[1]), 8).is_none());
        assert!(Layout::new(&image(0x30_0000, &[u32::MAX, 2]), 8).is_none());
    }
}
