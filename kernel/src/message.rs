//! Messages to kernel objects, read and answered with the `capnp` crate.
//!
//! The request is copied out of user memory first, so it cannot change while it is read. The answer is built in a page of
//! the processor's own and then copied into the caller's buffer.

use crate::arch::cpu::Cpu;
use crate::error::Error;
use crate::object::account::Account;
use crate::object::call::{Capabilities, NO_CAPABILITIES};
use crate::object::message_buffer::MessageBuffer;
use crate::object::thread::Thread;
use crate::object::{self, Object};
use abi::{MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageInfo, Status};
use alloc::sync::Arc;
use capnp::message::{Allocator, Builder, Reader, ReaderOptions, ReaderSegments};
use capnp::traits::Owned;
use core::ptr::NonNull;

/// One segment of words.
struct Segment<'a>(&'a [u64]);

impl ReaderSegments for Segment<'_> {
    fn get_segment(&self, index: u32) -> Option<&[u8]> {
        // SAFETY: words are bytes, eight for one.
        (index == 0).then(|| unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 8) })
    }

    fn len(&self) -> usize {
        1
    }
}

/// A call of a kernel object, copied and not yet believed.
pub struct Params<'a> {
    caller: &'a Thread,
    interface: u64,
    method: u16,
    words: &'a [u64],
    reader: Reader<Segment<'a>>,
    capabilities: Capabilities,
}

impl<'a> Params<'a> {
    fn new(
        caller: &'a Thread,
        interface: u64,
        method: u16,
        words: &'a [u64],
        capabilities: Capabilities,
    ) -> Self {
        let reader = Reader::new(Segment(words), ReaderOptions::new());
        Self { caller, interface, method, words, reader, capabilities }
    }

    /// The thread that calls.
    pub const fn caller(&self) -> &Thread {
        self.caller
    }

    /// Who pays for what the call makes.
    pub fn account(&self) -> &Arc<Account> {
        &self.caller.process.account
    }

    /// The method's ordinal in its interface.
    pub const fn method(&self) -> u16 {
        self.method
    }

    /// Errors: `unimplemented` when the call is for another interface.
    pub const fn expect_interface(&self, interface: u64) -> Result<(), Error> {
        if self.interface == interface {
            Ok(())
        } else {
            Err(Error::unimplemented("the object does not have this interface"))
        }
    }

    /// The parameters as their type.
    pub fn root<T: Owned>(&self) -> Result<T::Reader<'_>, Error> {
        Ok(self.reader.get_root::<T::Reader<'_>>()?)
    }

    /// The capability in pointer field `slot` of the parameters.
    pub fn capability(&self, slot: usize) -> Result<&Object, Error> {
        let place = pointer_place(self.words, slot).ok_or(Error::BAD_MESSAGE)?;
        let word = self.words.get(place).copied().unwrap_or(0);
        // [Cap'n Proto encoding spec, "Capabilities"]: kind 3, the rest of the low half zero, index above.
        if word as u32 != 3 {
            return Err(Error::failed("a capability is missing"));
        }
        let object = self.capabilities.get((word >> 32) as usize).and_then(Option::as_ref);
        object.ok_or(Error::failed("a capability is missing"))
    }
}

/// Index of the word that holds pointer field `slot` of the root struct.
fn pointer_place(words: &[u64], slot: usize) -> Option<usize> {
    let root = *words.first()?;
    // [Cap'n Proto encoding spec, "Structs"]: kind 0, 30 bits of offset, then data and pointer section sizes.
    if root & 3 != 0 {
        return None;
    }
    let offset = usize::try_from(root as u32 as i32 >> 2).ok()?;
    let (data, pointers) = ((root >> 32) as u16 as usize, (root >> 48) as usize);
    let place = 1 + offset + data + slot;
    (slot < pointers && place < words.len()).then_some(place)
}

/// Space for one answer, all zero while unused.
struct AnswerSpace {
    words: NonNull<[u64; MAXIMUM_WORDS]>,
    taken: bool,
}

// SAFETY: the first segment is the processor's answer page, which is zero and used by one answer at a time; further
// ones come zeroed from the heap. Used words are zeroed again when the page is given back.
unsafe impl Allocator for AnswerSpace {
    fn allocate_segment(&mut self, minimum_size: u32) -> (NonNull<u8>, u32) {
        if !self.taken && minimum_size as usize <= MAXIMUM_WORDS {
            self.taken = true;
            return (self.words.cast(), MAXIMUM_WORDS as u32);
        }
        // An answer that outgrows the page is refused in `Answer::finish`; until then it needs somewhere to be.
        let words = (minimum_size as usize).max(MAXIMUM_WORDS);
        let segment = alloc::vec![0_u64; words].into_boxed_slice();
        let segment: *mut [u64] = alloc::boxed::Box::into_raw(segment);
        (NonNull::new(segment.cast()).unwrap_or(NonNull::dangling()), words as u32)
    }

    unsafe fn deallocate_segment(&mut self, pointer: NonNull<u8>, word_size: u32, words_used: u32) {
        if pointer == self.words.cast() {
            let words = pointer.cast::<u64>();
            for index in 0..(words_used as usize).min(MAXIMUM_WORDS) {
                // SAFETY: the index is within the page.
                unsafe { words.add(index).write(0) };
            }
            self.taken = false;
        } else {
            let segment =
                core::ptr::slice_from_raw_parts_mut(pointer.as_ptr().cast::<u64>(), word_size as usize);
            // SAFETY: `allocate_segment` made this box.
            drop(unsafe { alloc::boxed::Box::from_raw(segment) });
        }
    }
}

/// The answer of a kernel object, being built.
pub struct Answer {
    message: Builder<AnswerSpace>,
    capabilities: Capabilities,
    slots: [u8; MAXIMUM_CAPABILITIES],
    count: usize,
}

impl Answer {
    fn new(cpu: &Cpu) -> Self {
        let words = NonNull::new(cpu.answer.get()).unwrap_or(NonNull::dangling());
        Self {
            message: Builder::new(AnswerSpace { words, taken: false }),
            capabilities: NO_CAPABILITIES,
            slots: [0; MAXIMUM_CAPABILITIES],
            count: 0,
        }
    }

    /// Starts the results struct. Called once, before capabilities are added.
    pub fn root<T: Owned>(&mut self) -> Result<T::Builder<'_>, Error> {
        Ok(self.message.init_root::<T::Builder<'_>>())
    }

    /// Puts a capability into pointer field `slot` of the results.
    pub fn capability(&mut self, slot: u8, object: Object) -> Result<(), Error> {
        match (self.capabilities.get_mut(self.count), self.slots.get_mut(self.count)) {
            (Some(entry), Some(place)) => {
                *entry = Some(object);
                *place = slot;
                self.count += 1;
                Ok(())
            }
            _ => Err(Error::overloaded("too many capabilities in an answer")),
        }
    }

    /// Copies the answer into the caller's buffer and its capabilities into the caller's table.
    fn finish(mut self, caller: &Thread, buffer: &MessageBuffer) -> Result<MessageInfo, Error> {
        let mut handles = [0; MAXIMUM_CAPABILITIES];
        for (handle, object) in handles.iter_mut().zip(&mut self.capabilities).take(self.count) {
            if let Some(object) = object.take() {
                *handle = caller.process.insert(object)?;
            }
        }
        let segments = self.message.get_segments_for_output();
        let [segment] = &*segments else { return Err(Error::overloaded("the answer is too large")) };
        let words = segment.len() / 8;
        // SAFETY: a segment is word aligned.
        let segment =
            unsafe { core::slice::from_raw_parts_mut(segment.as_ptr().cast::<u64>().cast_mut(), words) };
        for (index, slot) in self.slots.iter().take(self.count).enumerate() {
            if let Some(word) =
                pointer_place(segment, usize::from(*slot)).and_then(|place| segment.get_mut(place))
            {
                *word = 3 | (index as u64) << 32;
            }
        }
        buffer.write_segment(segment);
        for (index, handle) in handles.iter().take(self.count).enumerate() {
            buffer.set_capability(index, *handle);
        }
        Ok(MessageInfo::new(0, words as u16, self.count as u8))
    }
}

/// Serves a call of a kernel object: reads the request from `buffer` and writes the answer there.
pub fn serve(
    cpu: &Cpu,
    caller: &Thread,
    object: &Object,
    interface: u64,
    info: MessageInfo,
    buffer: &MessageBuffer,
) -> (Status, MessageInfo) {
    let result = read_capabilities(caller, info, buffer).and_then(|capabilities| {
        // SAFETY: the page is this processor's, and calls of kernel objects do not nest.
        let scratch = unsafe { &mut *cpu.scratch.get() };
        buffer.read_segment(info.words(), scratch);
        // Parameters that were left at their defaults can be an empty message: a null root says the same.
        let words = scratch.get(..info.words()).filter(|words| !words.is_empty()).unwrap_or(&[0]);
        let params = Params::new(caller, interface, info.method(), words, capabilities);
        let mut answer = Answer::new(cpu);
        object::invoke(object, &params, &mut answer)?;
        answer.finish(caller, buffer)
    });
    match result {
        Ok(info) => (Status::Ok, info),
        Err(error) => (error.status, buffer.write_text(error.reason)),
    }
}

/// The capabilities of a message in `buffer`, named by handles of the caller.
pub fn read_capabilities(
    caller: &Thread,
    info: MessageInfo,
    buffer: &MessageBuffer,
) -> Result<Capabilities, Error> {
    let mut capabilities = NO_CAPABILITIES;
    if !info.is_valid() {
        return Err(Error::failed("the message is too large"));
    }
    if info.capabilities() > 0 {
        let names = buffer.capabilities();
        let handles = caller.process.handles.lock();
        for (entry, name) in capabilities.iter_mut().zip(names).take(info.capabilities()) {
            let sent = handles.get(name).ok_or(Error::BAD_HANDLE).and_then(Object::clone_for_message);
            match sent {
                Ok(object) => *entry = Some(object),
                Err(error) => {
                    // What was cloned is dropped after the lock.
                    drop(handles);
                    return Err(error);
                }
            }
        }
    }
    Ok(capabilities)
}
